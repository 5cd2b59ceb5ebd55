"""Runs are the same whatever else is loaded."""

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.simulation.profiles import run, until_found

_DRAWN: list[int] = []


class _Diary(RuleBasedStateMachine):
    @rule(number=st.integers(0, 1_000_000))
    def note(self, number: int) -> None:
        _DRAWN.append(number)


def _drawn() -> list[int]:
    _DRAWN.clear()
    run(_Diary, until_found(20))
    return list(_DRAWN)


def test_the_constants_of_another_module_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = _drawn()
    path = tmp_path / "full_of_constants.py"
    path.write_text("\n".join(f"C{number} = {number * 7919}" for number in range(1, 120)))
    spec = importlib.util.spec_from_file_location("full_of_constants", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "full_of_constants", module)
    spec.loader.exec_module(module)
    assert len(before) > 200
    assert _drawn() == before
