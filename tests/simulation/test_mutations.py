"""The simulation bites: each broken rule is found within so many derandomised runs, from the same seeds each time."""

import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.simulation.machine import Deployment
from tests.simulation.mutations import MUTATIONS
from tests.simulation.profiles import until_found

RUNS = 400
SHORT = (
    "no STALE check",
    "increments instead of absolute values",
    "progress before windows",
    "covered_from ignored",
    "always incomplete",
)
"""Of `make test`; the others run in `make test-faults`."""


@pytest.mark.parametrize("name", [n if n in SHORT else pytest.param(n, marks=pytest.mark.long) for n in MUTATIONS])
def test_a_broken_rule_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTATIONS[name](monkeypatch)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Deployment, settings=until_found(RUNS))
