"""The simulation bites: each broken rule is found within so many derandomised runs, from the same seeds each time.

Found by itself: without it, the same runs pass. What fails either way says nothing about the rule.
"""

import sys

import pytest
from hypothesis import seed
from hypothesis.stateful import invariant

from tests.simulation.machine import Deployment
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.profiles import run, until_found

RUNS = 400
SEED = 4
SHORT = (
    "no STALE check",
    "increments instead of absolute values",
    "progress before windows",
    "covered_from ignored",
    "always incomplete",
)
"""Of `make test`; the others run in `make test-faults`."""


class Enough(Exception):
    """So many runs have passed."""


class Counted(Deployment):
    """Counts its runs. `most`: raises Enough after so many."""

    runs = 0
    most: int | None = None

    def __init__(self) -> None:
        type(self).runs += 1
        super().__init__()

    def teardown(self) -> None:
        has_failed = sys.exc_info()[0] is not None
        super().teardown()
        if self.most is not None and self.runs >= self.most and not has_failed:
            raise Enough


class Sick(Counted):
    """Fails by itself, in its second run."""

    @invariant()
    def is_well(self) -> None:
        assert self.runs < 2, "sick"


@pytest.mark.parametrize("name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in MUTATIONS])
def test_a_broken_rule_is_found(name: str) -> None:
    hunt(Counted, MUTATIONS[name])


def test_a_failure_that_the_machine_has_anyway_is_not_taken_for_a_find() -> None:
    with pytest.raises(AssertionError, match="sick"):
        hunt(Sick, lambda patch: None)


def hunt(machine: type[Counted], mutation: Mutation) -> None:
    """AssertionError when no run finds the mutation, or one of the same runs fails without it, too."""
    taken = _anew(machine)
    with pytest.MonkeyPatch.context() as patch:
        mutation(patch)
        with pytest.raises(AssertionError):
            run(taken, until_found(RUNS))
    with pytest.raises(Enough):
        run(_anew(machine, most=taken.runs), until_found(RUNS))


def _anew(machine: type[Counted], most: int | None = None) -> type[Counted]:
    """A class of its own for the counter and the seed, which both stay on it."""
    return seed(SEED)(type(machine.__name__, (machine,), {"runs": 0, "most": most}))
