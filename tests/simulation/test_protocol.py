"""The merge protocol under every order of events, crashes and losses that Hypothesis finds; R after every step.

`test_r_holds…` are the seeded runs; below them, each failure that they ever found as a test with a name.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import seed

from tests.simulation.definitions import PEAKS, TOTALS
from tests.simulation.interrupts import Interrupt
from tests.simulation.machine import FAULTS, Deployment, crash
from tests.simulation.profiles import of_runs, run
from tests.simulation.reader import QUESTIONS
from tests.simulation.world import World
from tidemark.windows import floor_to


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


@pytest.mark.parametrize("after", range(1, 5))
@pytest.mark.parametrize("what", ["emptied", "taken over afresh", "emptied, then taken over afresh", "restored"])
@pytest.mark.parametrize("question", range(len(QUESTIONS)))
@pytest.mark.parametrize("sealed", [False, True])
def test_what_goes_between_the_reads_of_an_answer_is_never_zero(
    world: World, after: int, what: str, question: int, sealed: bool
) -> None:
    """The head told of windows that were gone when they were read: they used to pass for windows without events."""
    world.live([(7200, "a", 1), (3600, "a", 2)])
    world.tick()
    world.take_snapshot()
    world.live([(600, "a", 1), (0, "b", 3)])
    world.tick()
    if sealed:
        world.write_lake()
        world.run_batch(floor_to(world.clock_s, 3600) - 3600)
    world.check(question)
    world.check_amid(after, FAULTS[what])
