"""A stream that runs: a metric added beside it, and one that does not compile, leave the others as they were."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conf.settings import Settings
from tests.e2e.test_commands import TIDEMARK, tidemark
from tests.e2e.test_new_metric import define

FROM, TO = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"
pytestmark = [pytest.mark.spark, pytest.mark.slow]


def ask(metric: str) -> dict[str, Any]:
    text = tidemark(
        "query", metric, "--window", "10m", "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-01T01:00:00Z"
    )
    found: dict[str, Any] = json.loads(text)
    return found


def starts(answer: dict[str, Any]) -> list[str]:
    return [point["start"][11:16] for point in answer["points"]]


def wait_for(reached: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def simulate(seed: str, start: str) -> None:
    tidemark("simulate", "access", "--rate", "1", "--seconds", "1500", "--seed", seed, "--start", start)


def test_a_metric_added_beside_a_running_stream_leaves_the_others_state(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    definitions = tmp_path / "definitions"
    define(definitions, "totals", "SELECT device_id, SUM(access_count) AS total FROM access GROUP BY device_id")
    monkeypatch.setenv("TIDEMARK_DEFINITIONS", str(definitions))
    simulate("1", FROM)
    with (tmp_path / "stream.log").open("wb") as log:
        stream = subprocess.Popen(
            [TIDEMARK, "stream", "--source-contract", "access"], stderr=log, stdout=log, env={**os.environ}
        )
    try:
        wait_for(lambda: "00:20" in starts(ask("totals")))
        before = ask("totals")["points"]
        define(definitions, "peaks", "SELECT MAX(access_count) AS highest FROM access")
        define(definitions, "bad", "SELECT nope FROM access")
        wait_for(lambda: ask("peaks")["missing"][0]["to"] < TO)
        simulate("2", "2026-01-01T00:25:00Z")
        wait_for(lambda: "00:40" in starts(ask("peaks")))
        young, old = ask("peaks"), ask("totals")
    finally:
        stream.send_signal(signal.SIGTERM)
        assert stream.wait(60) == 0
    assert old["complete"] is True
    assert [point["values"] for point in old["points"][:2]] == [point["values"] for point in before[:2]]
    assert [gap["reason"] for gap in young["missing"]] == ["not_covered"]
    assert young["points"][0]["start"] >= young["missing"][0]["to"]
