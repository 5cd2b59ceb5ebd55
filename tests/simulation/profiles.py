"""How many runs, and from which seeds. Derandomised: the same runs on every machine, so a failure is found again.

SIMULATION_RUNS=5000 SIMULATION_SEED=7 pytest tests/simulation/test_protocol.py explores others; a failure prints the
steps that led to it, shortened.
"""

import os

from hypothesis import HealthCheck, Phase, settings

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
