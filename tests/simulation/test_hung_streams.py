"""Streams that hang and are replaced, and what they do when they wake: R holds, whichever of the two goes on."""

import pytest

from tests.simulation.interrupts import Interrupt
from tests.simulation.world import World


@pytest.mark.parametrize("after", range(20))
def test_a_stream_that_hangs_in_its_start_leaves_the_views_of_the_one_that_replaced_it(
    world: World, after: int
) -> None:
    """It used to go on emptying the lane when it woke, behind the back of the newer one."""
    for age_s in (7200, 3600, 0):
        world.ingest(age_s)
    world.start(interrupt=Interrupt(after, lambda each: each.take_over(fresh=False)))


def test_two_checkpoints_that_claimed_the_same_epoch_of_an_emptied_redis_are_told_apart(world: World) -> None:
    def emptied(each: World) -> None:
        each.lose_redis()
        each.take_over(fresh=True)

    world.live([(0, "a", 1), (300, "b", 2)])
    world.live([(0, "a", 0)], interrupt=Interrupt(1, emptied))
    world.check(5)


def test_a_query_that_hung_before_it_planned_is_refused_by_the_log(world: World) -> None:
    """The model let it plan the batch after those of its successor, over records that they had consumed."""
    world.live([(0, "a", 1), (300, "b", 2)])
    world.live([(720, "a", 1)], interrupt=Interrupt(0, lambda each: each.take_over(fresh=False)))
    world.live([(0, "a", 3)])
    ends = [plan.end for plan in world.checkpoints[-1].plans]
    assert ends == sorted(ends)
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


@pytest.mark.parametrize("woken_first", [True, False])
@pytest.mark.parametrize("after", range(8))
def test_a_stream_that_wakes_in_its_start_and_the_one_that_replaced_it_run_side_by_side(
    world: World, after: int, woken_first: bool
) -> None:
    """The last to claim the views keeps them. The other ends; where it has planned a batch before, so do both."""
    world.live([(7200, "a", 1), (3600, "b", 2), (0, "a", 1)])
    world.kill()
    world.start(interrupt=Interrupt(after, lambda each: each.take_over(fresh=False)))
    world.ingest(0, "a", 3)
    world.ingest(700, "b", 2)
    for step in (world.tick_beside, world.tick) if woken_first else (world.tick, world.tick_beside):
        step()
    world.check(5)
    assert sum(each is not None and each.is_running for each in (world.driver, world.beside)) <= 1
