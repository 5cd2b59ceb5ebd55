"""A deployment in memory for a test; when the test ends, all faults end, and every answer must be whole and right."""

from collections.abc import Iterator

import pytest

from tests.simulation.world import World


@pytest.fixture
def world() -> Iterator[World]:
    deployment = World()
    yield deployment
    deployment.settle()
    deployment.close()
