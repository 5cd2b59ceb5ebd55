"""A metric that compiles and fails when it runs takes no other metric down, neither in the stream nor in the batch."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from conf.settings import Settings
from tests.faults.leaky_compiler import open_hole
from tests.faults.rig import Driver, Rig, printed_document, wait_for
from tidemark.metrics import expressions
from tidemark.windows import iso

pytestmark = [pytest.mark.spark, pytest.mark.fault, pytest.mark.long]
START = 1_767_225_600
"""2026-01-01T00:00:00Z"""
HOUR = 3_600
PACKAGED = Path(__file__).parents[2] / "conf"
POISON = {
    "name": "poison",
    "description": "Fails as soon as an event is there",
    "sql": "SELECT device_id, SUM(RAISE(access_count)) AS total FROM access GROUP BY device_id",
    "windows": ["10m", "30m"],
    "schedule": "0 2 * * *",
    "retention": {"hot": "24h", "warm": "30d", "cold": "2y"},
    "category": "test",
}


class LeakyRig(Rig):
    """Every command of ours has the compiler with the hole."""

    def command(self, *arguments: str, **_: object) -> Driver:
        self._started += 1
        log = self.folder / f"{self._started:03d}-{arguments[0]}.log"
        command = [sys.executable, "-m", "tests.faults.leaky_compiler", *arguments]
        return Driver(command, log, self.environment, Path(__file__).parents[2])

    def poisoned(self) -> dict[str, Any]:
        """The answer of the poisoned metric."""
        span = ["--from", iso(START), "--to", iso(START + HOUR), "--window", "10m"]
        with self.command("query", "poison", *span, "--group-by", "device_id", "--json") as query:
            assert query.wait() == 0, query.text()
            return printed_document(query.text())


@pytest.fixture
def rig(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LeakyRig:
    folder = tmp_path / "definitions"
    for kind, name in (("contracts", "access"), ("metrics", "device_access")):
        (folder / kind).mkdir(parents=True)
        (folder / kind / f"{name}.yaml").write_text((PACKAGED / kind / f"{name}.yaml").read_text())
    monkeypatch.setenv("TIDEMARK_DEFINITIONS", str(folder))
    monkeypatch.setattr(expressions, "_HANDLERS", dict(expressions._HANDLERS))
    open_hole()
    leaky = LeakyRig(settings, tmp_path)
    leaky.environment = {"TIDEMARK_LOG_LEVEL": "info"}
    return leaky


def release(rig: Rig, definition: Mapping[str, object]) -> None:
    file = rig.folder / "definitions/metrics" / f"{definition['name']}.yaml"
    draft = file.with_suffix(".draft")
    draft.write_text(yaml.safe_dump(dict(definition)))
    draft.replace(file)


def produce(rig: Rig, seed: int, start: int, seconds: int = 1200) -> None:
    with rig.produce(20, seconds, seed, "--duplicates", "0.05", start=start) as producer:
        assert producer.wait() == 0, producer.text()


def test_the_others_go_on_in_a_running_stream_and_in_the_batch(rig: LeakyRig) -> None:
    produce(rig, 1, START)
    with rig.stream() as driver:
        rig.wait_exact()
        release(rig, POISON)
        wait_for(lambda: "definitions changed" in driver.text(), 60, driver.text)
        produce(rig, 2, START + 1200)
        rig.wait_exact()
        assert "metric fails when it runs, left out" in driver.text()
        found = rig.poisoned()
        assert found["points"] == []
        assert {gap["reason"] for gap in found["missing"]} == {"metric_failed"}
        report = rig.batch(START + HOUR // 2, code=1)
        assert report["metrics"]["device_access"]["state"] == "sealed"
        assert report["metrics"]["poison"]["state"] == "failed"
        assert "is_computed failed" in report["metrics"]["poison"]["failed"][0]
        assert driver.is_alive
        release(rig, {**POISON, "sql": "SELECT device_id, SUM(access_count) AS total FROM access GROUP BY device_id"})
        wait_for(lambda: "metric_failed" not in str(rig.poisoned()["missing"]), 60, driver.text)
        assert driver.stop() == 0, driver.text()[-4000:]
    rig.assert_exact()
    rig.assert_conserved()


def test_a_stream_that_starts_with_a_poisoned_metric_drains_for_the_others(rig: LeakyRig) -> None:
    release(rig, POISON)
    produce(rig, 3, START)
    rig.drain()
    rig.assert_exact()
    assert {gap["reason"] for gap in rig.poisoned()["missing"]} == {"metric_failed"}
