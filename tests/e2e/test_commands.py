"""The commands as a user runs them: their own processes, a host clock far from UTC, every output read as JSON."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conf.settings import Settings
from tests.oracle import mismatches, points, read_events

pytestmark = [pytest.mark.spark, pytest.mark.slow]
TIDEMARK = Path(sys.executable).with_name("tidemark")
FROM, CUT, TO = "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"
FAULTS = ("--duplicates", "0.05", "--invalid", "0.05")


def tidemark(*arguments: str, extra: Mapping[str, str] | None = None, code: int = 0) -> str:
    """Standard output of a command that ends with `code`."""
    environment = {**os.environ, "TZ": "Pacific/Auckland", **(extra or {})}
    done = subprocess.run([TIDEMARK, *arguments], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == code, done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return done.stdout


def answer(metric: str, *options: str, to: str = TO, code: int = 0, **extra: Any) -> dict[str, Any]:
    text = tidemark("query", metric, "--from", FROM, "--to", to, *options, code=code, **extra)
    found: dict[str, Any] = json.loads(text)
    return found


def within(events: list[dict[str, Any]], start: str, end: str) -> list[dict[str, Any]]:
    low, high = datetime.fromisoformat(start), datetime.fromisoformat(end)
    return [event for event in events if low <= datetime.fromisoformat(event["timestamp"]).astimezone(UTC) < high]


def run_story(pack: str, metric: str, dims: list[str], ledger: Path, extra: Mapping[str, str]) -> None:
    """simulate → stream --once → batch → query over the seam → status."""
    told = json.loads(
        tidemark(
            "simulate",
            pack,
            "--rate",
            "0.5",
            "--seconds",
            "7200",
            "--seed",
            "5",
            "--start",
            FROM,
            *FAULTS,
            "--to",
            "source",
            "--ledger",
            str(ledger),
            "--json",
            extra=extra,
        )
    )
    events = read_events(ledger)
    before = answer(metric, "--window", "10m", extra=extra)
    assert (before["points"], before["complete"]) == ([], False)
    tidemark("stream", "--once", "--source-contract", pack, extra=extra)
    batch = json.loads(tidemark("batch", "--through", CUT, "--json", extra=extra))
    assert batch["metrics"][metric]["sealed_through"] == CUT

    groups = [part for dim in dims for part in ("--group-by", dim)]
    for window, seconds in (("10m", 600), ("30m", 1800), ("1h", 3600)):
        found = answer(metric, "--window", window, *groups, "--strict", extra=extra)
        truth = points(metric, within(events, FROM, TO), seconds, dims, {})
        assert mismatches(found["points"], truth, dims) == []
        assert found["complete"] is True
        assert {point["layer"] for point in found["points"]} == {"batch", "speed"}
        for point in found["points"]:
            assert (point["layer"] == "batch") == (point["end"] <= CUT)

    counts = json.loads(tidemark("status", "--json", extra=extra))["contracts"][pack]
    assert counts["received"] == told["records"]
    assert counts["valid"] == len(events)
    assert counts["received"] == counts["valid"] + counts["quarantined"] + counts["duplicates"]
    assert counts["quarantined"] == told["kinds"]["invalid"]


def test_files_from_simulator_to_merged_answer(settings: Settings, tmp_path: Path) -> None:
    run_story("access", "device_access", ["device_id"], tmp_path / "ledger.ndjson", {})


@pytest.mark.kafka
def test_kafka_from_simulator_to_merged_answer(settings: Settings, kafka_bootstrap: str, tmp_path: Path) -> None:
    extra = {
        "TIDEMARK_SOURCE": "kafka",
        "TIDEMARK_KAFKA_BOOTSTRAP": kafka_bootstrap,
        "TIDEMARK_KAFKA_TOPIC_PREFIX": "story.",
    }
    run_story("orders", "order_status", ["event_type", "region"], tmp_path / "ledger.ndjson", extra)


def test_a_batch_refuses_when_nothing_drains_the_source(settings: Settings, tmp_path: Path) -> None:
    records = tmp_path / "records.ndjson"
    tidemark(
        "simulate", "access", "--rate", "1", "--seconds", "60", "--seed", "1", "--start", FROM, "--to", str(records)
    )
    assert json.loads(tidemark("ingest", "access", str(records), "--json"))["records"] == 60
    environment = {**os.environ}
    done = subprocess.run(
        [TIDEMARK, "batch", "--through", CUT], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 1
    assert "60" in done.stderr
    assert answer("device_access", "--window", "10m")["sealed_through"] is None


def test_wrong_use_is_one_line_and_exit_2(settings: Settings) -> None:
    for arguments in (
        ["batch", "--through", "yesterday"],
        ["query", "device_access", "--window", "7m", "--from", FROM, "--to", TO],
        ["query", "no_such_metric", "--window", "10m", "--from", FROM, "--to", TO],
        ["stream", "--once", "--source-contract", "nothing"],
    ):
        done = subprocess.run([TIDEMARK, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2, (arguments, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
