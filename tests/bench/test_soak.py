"""What the soak calls flat, and that its definitions differ from those that ship in `late_after` alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.soak import FLAT, committing, define, filled_s, growth, newest_commit
from tidemark.contracts import load_contracts

SHIPPED = Path(__file__).parents[2] / "conf"


def sampled(size: Callable[[int], float], minutes: int) -> list[dict[str, float]]:
    return [{"at_s": minute * 60, "state_mib": size(minute)} for minute in range(1, minutes)]


@pytest.mark.parametrize("late_after_s", [120, 600])
def test_state_that_never_stops_growing_is_not_flat(late_after_s: int) -> None:
    filled = filled_s(late_after_s)
    for minutes in range(2, 91):
        found = growth(sampled(lambda minute: 3.0 * minute, minutes), "state_mib", filled)
        assert found is None or found > FLAT, f"{minutes} minutes"
    assert found is not None


def test_state_that_fills_and_then_swings_is_flat() -> None:
    def size(minute: int) -> float:
        return min(minute, 7) * 10 + minute % 3

    found = growth(sampled(size, 30), "state_mib", filled_s(120))
    assert found is not None
    assert found <= FLAT


def test_a_single_high_sample_hides_no_growth() -> None:
    samples = sampled(lambda minute: 500.0 if minute == 9 else 3.0 * minute, 30)
    found = growth(samples, "state_mib", filled_s(120))
    assert found is not None
    assert found > FLAT


def test_half_an_hour_is_long_enough_and_a_run_that_ends_when_full_is_not() -> None:
    assert growth(sampled(lambda _: 5.0, 30), "state_mib", filled_s(120)) == 1.0
    assert growth(sampled(lambda _: 5.0, 30), "state_mib", filled_s(600)) is None
    assert growth([], "state_mib", filled_s(120)) is None


def test_the_soak_runs_the_shipped_definitions_with_a_shorter_lateness_alone(tmp_path: Path) -> None:
    define(tmp_path, 2)
    found, shipped = load_contracts([tmp_path / "contracts"]), load_contracts([SHIPPED / "contracts"])
    assert found["access"].newest == replace(shipped["access"].newest, late_after_s=120)
    assert {name: found[name] for name in found if name != "access"} == {
        name: shipped[name] for name in shipped if name != "access"
    }


def test_kills_that_only_meet_starting_streams_do_not_count_as_lives(tmp_path: Path) -> None:
    (tmp_path / ".3.crc").touch()
    assert newest_commit(tmp_path) == -1
    for number in (2, 10):
        (tmp_path / str(number)).touch()
    assert newest_commit(tmp_path) == 10
    assert committing([{"committed": -1}, {"committed": -1}]) == 0
    assert committing([{"committed": 0}, {"committed": 7}, {"committed": 7}, {"committed": 9}]) == 0.75
    assert committing([]) is None
