"""The merge protocol under every order of events, crashes and losses that Hypothesis finds; R after every step.

`test_r_holds…` are the seeded runs; below them, each failure that they ever found as a test with a name.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import seed

from tests.simulation.definitions import PEAKS, TOTALS
from tests.simulation.interrupts import Interrupt
from tests.simulation.machine import Deployment, crash
from tests.simulation.profiles import of_runs, run
from tests.simulation.world import World
from tidemark.windows import floor_to


@pytest.fixture
def world() -> Iterator[World]:
    deployment = World()
    yield deployment
    deployment.settle()
    deployment.close()


def explore(runs: int) -> None:
    chosen = os.environ.get("SIMULATION_SEED")
    run(Deployment if chosen is None else _seeded(int(chosen)), of_runs(runs))


def _seeded(number: int) -> type[Deployment]:
    """The seed stays on the class that it is given: a class of its own."""

    class Seeded(Deployment):
        pass

    return seed(number)(Seeded)


def test_r_holds_after_every_step() -> None:
    explore(100)


@pytest.mark.long
def test_r_holds_after_every_step_of_a_thousand_runs() -> None:
    explore(1_000)


def test_an_event_that_no_stream_has_taken_is_missing_not_zero(world: World) -> None:
    world.ingest(0)
    world.check(5)


def test_a_window_is_marked_before_it_shows_that_late_events_are_left_out(world: World) -> None:
    """A batch with late and punctual events of one open hour: found between its first scripts."""
    world.ingest(0)
    world.start()
    world.tick()
    world.tick()
    world.advance(60)
    world.ingest(900, "b", 3)
    world.ingest(300, "b", 2)
    world.tick()


@pytest.mark.parametrize("after", range(20))
def test_a_stream_that_hangs_in_its_start_leaves_the_views_of_the_one_that_replaced_it(
    world: World, after: int
) -> None:
    """It used to go on emptying the lane when it woke, behind the back of the newer one."""
    for age_s in (7200, 3600, 0):
        world.ingest(age_s)
    world.start(interrupt=Interrupt(after, lambda each: each.take_over(fresh=False)))


def test_a_lane_rebuilt_in_the_middle_of_a_backlog_does_not_call_itself_fresh(world: World) -> None:
    """It used to say: as of when the last batch was planned. That one had taken a part of what waited."""
    for _ in range(4):
        world.ingest(0)
    world.start()
    world.tick(upto=1)
    world.lose_redis()
    world.supervise()
    progress = world.progress()
    assert progress is not None
    assert progress.as_of <= world.source[1].received_s
    world.check(5)


@pytest.mark.parametrize("after", range(12))
def test_a_redis_that_is_emptied_during_a_start_never_passes_for_whole(world: World, after: int) -> None:
    """Between the look at the views and the claim it used to: a fence and a progress record over nothing."""
    for age_s in (900, 300, 0):
        world.ingest(age_s)
    world.start()
    world.tick()
    world.kill()
    world.start(interrupt=Interrupt(after, World.lose_redis))
    world.check(5)


@pytest.mark.parametrize("after", range(30))
def test_an_event_that_arrives_during_the_cut_counts_once_at_the_seam(world: World, after: int) -> None:
    """Whichever steps of the batch have been taken: in speed before the pointer moves, in the next batch after it."""
    world.live([(7200, "a", 1), (3600, "a", 1), (0, "a", 1)])
    world.write_lake()
    through_s = floor_to(world.clock_s, 3600)
    world.begin_batch(through_s)
    into_the_cut = Interrupt(after, lambda each: each.live([(int(each.clock_s) - through_s + 60, "b", 3)]))
    world.go_on_with_batch(1000, interrupt=into_the_cut)
    world.check(5)
    world.write_lake()
    world.run_batch(through_s)
    document = world.ask(TOTALS, 1800, world.source.everything())
    assert document["complete"]
    counted = [point["values"]["events"] for point in document["points"] if point["dims"] == {"device_id": "b"}]
    assert sum(counted) == sum(event.device == "b" for event in world.source)


@pytest.fixture
def set_back() -> Iterator[World]:
    """A stream had taken an event; then its host's clock, an hour ahead, was set right."""
    deployment = World()
    deployment.live([(0, "a", 1)])
    deployment.tick()
    deployment.advance(-3600)
    yield deployment
    deployment.close()


def test_after_the_clock_was_set_back_a_hanging_stream_is_noticed(set_back: World) -> None:
    """As of an hour ahead used to pass for fresh, for an hour."""
    set_back.ingest(0)
    set_back.beat()
    document = set_back.ask(TOTALS, 600, set_back.source.everything())
    assert not document["complete"]
    assert {gap["reason"] for gap in document["missing"]} == {"speed_stale"}


def test_after_the_clock_was_set_back_the_next_batch_is_as_of_now(set_back: World) -> None:
    set_back.ingest(-3600)
    set_back.tick()
    set_back.beat()
    progress = set_back.progress()
    assert progress is not None
    assert progress.as_of <= set_back.clock_s
    assert set_back.ask(TOTALS, 600, set_back.source.everything())["complete"]


def test_an_emptied_source_and_an_emptied_redis_are_not_nothing_ever_came(world: World) -> None:
    world.live([(0, "a", 1)])
    world.write_lake()
    world.clean_source()
    world.kill()
    world.lose_redis()
    world.advance(60)
    assert not world.ask(TOTALS, 600, world.source.everything())["complete"]


def test_two_checkpoints_that_claimed_the_same_epoch_of_an_emptied_redis_are_told_apart(world: World) -> None:
    def emptied(each: World) -> None:
        each.lose_redis()
        each.take_over(fresh=True)

    world.live([(0, "a", 1), (300, "b", 2)])
    world.live([(0, "a", 0)], interrupt=Interrupt(1, emptied))
    world.check(5)


def test_a_metric_added_after_a_first_batch_without_events_does_not_cover_what_was_cleaned(world: World) -> None:
    """A new checkpoint on a cleaned source: its first batch counted nothing, and the metric passed for whole."""
    world.live([(0, "a", 1), (300, "b", 2)])
    world.kill()
    world.metrics, world.redefined = (TOTALS,), True
    world.start()
    world.write_lake()
    world.clean_source()
    world.new_checkpoint()
    world.live([(0, "a", 0)], upto=0)
    world.kill()
    world.start((TOTALS, PEAKS))
    world.tick()
    world.check(5)


def test_a_query_that_hung_before_it_planned_is_refused_by_the_log(world: World) -> None:
    """The model let it plan the batch after those of its successor, over records that they had consumed."""
    world.live([(0, "a", 1), (300, "b", 2)])
    world.live([(720, "a", 1)], interrupt=Interrupt(0, lambda each: each.take_over(fresh=False)))
    world.live([(0, "a", 3)])
    ends = [plan.end for plan in world.checkpoints[-1].plans]
    assert ends == sorted(ends)
    world.check(5)


@pytest.mark.parametrize("after", range(12))
def test_a_metric_that_comes_back_is_not_called_fresh_by_a_batch_that_left_it_out(world: World, after: int) -> None:
    """The batch was in the views and not committed; the metric's window lacked its events until it ran again."""
    world.live([(0, "a", 1), (300, "b", 2)])
    world.tick()
    world.kill()
    world.redefined = True
    world.start((TOTALS,))
    ahead_s = floor_to(world.clock_s, 3600) + 3600 - int(world.clock_s)
    world.live([(-ahead_s, "a", 0), (0, "b", 2)], interrupt=Interrupt(after, crash))
    world.kill()
    world.start((TOTALS, PEAKS))
    world.check(5)


@pytest.mark.parametrize("after", range(14))
def test_a_redis_that_comes_back_from_the_middle_of_a_rebuild_is_rebuilt_again(world: World, after: int) -> None:
    """From the claim on, its fence used to say that it held all up to the last commit."""
    world.live([(0, "a", 1), (300, "b", 2)])
    world.tick()
    world.kill()
    world.lose_redis()
    world.start(interrupt=Interrupt(after, World.take_snapshot))
    world.restore_snapshot(-1)
    world.ingest(0)
    world.tick()
    world.check(5)


@pytest.mark.parametrize("after", range(14))
def test_a_redis_that_comes_back_from_the_middle_of_an_emptying_is_emptied_again(world: World, after: int) -> None:
    """A new checkpoint, whose first batch follows: half of the old one's windows used to stay beside it."""
    world.live([(0, "a", 1), (300, "b", 2)])
    world.tick()
    world.new_checkpoint()
    world.start(interrupt=Interrupt(after, World.take_snapshot))
    world.restore_snapshot(-1)
    world.tick(upto=1)
    world.check(5)


def test_a_stream_that_hung_does_not_put_its_note_over_that_of_the_one_that_replaced_it(world: World) -> None:
    """The note of a shared checkpoint had no fence: the newer one's epoch, families and late minutes went."""
    world.live([(0, "a", 1)])
    world.tick()
    world.tick()
    world.advance(60)
    world.live([(900, "b", 3)], interrupt=Interrupt(1, lambda each: each.take_over(fresh=False)))
    assert world.driver is not None
    note, progress = world.checkpoints[-1].note, world.progress()
    assert note is not None
    assert progress is not None
    assert note.epoch == progress.epoch


@pytest.mark.parametrize("after", range(4))
def test_a_stream_that_hung_in_its_start_keeps_the_late_minutes_that_another_noted_meanwhile(
    world: World, after: int
) -> None:
    """It wrote the note that it had read before; the window that lacked the late event then called itself complete."""
    world.live([(599, "a", 2)])
    world.live([(-600, "a", 3)])
    world.live([(0, "a", 2)], interrupt=Interrupt(0, World.lose_redis))
    world.ingest(59, "b", 3)
    world.kill()
    world.start(interrupt=Interrupt(after, lambda each: each.take_over(fresh=False)))
