"""How many runs, and from which seeds. Derandomised: the same runs on every machine, so a failure is found again.

That holds until the machine's text changes. `run` keeps out what else would make a difference.

SIMULATION_RUNS=5000 SIMULATION_SEED=7 pytest tests/simulation/test_protocol.py explores others; a failure prints the
steps that led to it, shortened.
"""

import os
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

STEPS = 30
_QUIET = list(HealthCheck)


def of_runs(runs: int) -> settings:
    """Settings for so many runs of one machine, or those that the environment asks for."""
    explored = os.environ.get("SIMULATION_SEED")
    return settings(
        max_examples=int(os.environ.get("SIMULATION_RUNS", runs)),
        stateful_step_count=STEPS,
        derandomize=explored is None,
        deadline=None,
        database=None,
        suppress_health_check=_QUIET,
        phases=[Phase.generate, Phase.shrink],
    )


def until_found(runs: int) -> settings:
    """Settings of a hunt: the first failure ends it, as it is."""
    return settings(
        max_examples=runs,
        stateful_step_count=STEPS,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=_QUIET,
        phases=[Phase.generate],
        print_blob=False,
    )


def run(machine: type[RuleBasedStateMachine], chosen: settings) -> None:
    """Run a machine. Raises what its runs raise.

    Trap: one draw in twenty is a constant of the code that is loaded, whichever that is: what fails under one selection
    of tests would pass under another. Public settings cannot turn it off.
    """
    providers.CONSTANTS_CACHE.cache.clear()
    try:
        with mock.patch.object(providers, "_get_local_constants", providers.Constants):
            run_state_machine_as_test(machine, settings=chosen)
    finally:
        providers.CONSTANTS_CACHE.cache.clear()
