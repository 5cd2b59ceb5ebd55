"""A Redis that comes back as it was, and a batch's views in it: they say what was published, or nothing."""

from unittest import mock

import pytest

from spark_jobs import publish
from tests.simulation.interrupts import Crash
from tests.simulation.world import World
from tidemark.windows import floor_to


def dead_before_its_commit(world: World, through_s: int) -> None:
    """A batch that prepares the hot windows of the next publication, and is killed."""
    with mock.patch.object(publish, "commit_publications", side_effect=Crash):
        world.run_batch(through_s)


@pytest.mark.parametrize("is_running", [True, False])
def test_hot_windows_of_a_batch_that_died_are_not_those_of_the_next_one_of_the_same_number(
    world: World, is_running: bool
) -> None:
    """They were believed, for their key and their sentinel were right, and no later batch wrote them again."""
    world.live([(7_200, "a", 1), (3_600, "b", 2), (0, "a", 1)])
    world.write_lake()
    world.run_batch(floor_to(world.clock_s, 3_600) - 3_600)
    through_s = floor_to(world.clock_s, 1_800)
    dead_before_its_commit(world, through_s)
    world.take_snapshot()
    world.live([(7_000, "a", 5), (3_600, "c", 7)])
    world.write_lake()
    world.run_batch(through_s)
    world.check(5)
    world.restore_snapshot(0)
    if is_running:
        world.supervise()
        world.supervise()
        world.check(5)
    else:
        world.kill()
    world.advance(3_600)
    world.write_lake()
    world.run_batch(floor_to(world.clock_s, 1_800))
    world.settle()
