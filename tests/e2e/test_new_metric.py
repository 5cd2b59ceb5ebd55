"""A metric that is added while the stream has state: the others keep theirs, the new one is whole after a batch."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from conf.settings import Settings, load_settings
from tests.e2e.deployment import Deployment
from tidemark.windows import iso

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]
START = int(datetime(2026, 2, 28, 23, 0, tzinfo=UTC).timestamp())
_OLD = "SELECT device_id, SUM(access_count) AS total FROM access GROUP BY device_id"
_NEW = "SELECT MAX(access_count) AS highest, COUNT(*) AS events FROM access"


def define(folder: Path, name: str, sql: str) -> None:
    (folder / "metrics").mkdir(parents=True, exist_ok=True)
    (folder / "metrics" / f"{name}.yaml").write_text(f"name: {name}\nsql: {sql}\nwindows: [10m, 30m]\n")


def events(first: int, minutes: range) -> list[bytes]:
    return [
        orjson.dumps(
            {
                "event_id": f"e{first + i}",
                "timestamp": iso(START + minute * 60),
                "device_id": f"d{i % 3}",
                "user_id": "u",
                "access_count": i,
            }
        )
        for i, minute in enumerate(minutes)
    ]


def test_a_new_metric_is_whole_after_the_next_batch_and_the_others_never_notice(
    spark: "SparkSession", settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(tmp_path / "definitions", "totals", _OLD)
    monkeypatch.setenv("TIDEMARK_DEFINITIONS", str(tmp_path / "definitions"))
    deployment = Deployment(spark, load_settings(), ["access"])
    deployment.ingest("access", events(0, range(0, 65)))
    deployment.drain()

    define(tmp_path / "definitions", "peaks", _NEW)
    deployment.ingest("access", events(100, range(60, 100)))
    deployment.drain()
    end = START + 2 * 3600
    old = deployment.answer("totals", "30m", START, end)
    assert old["complete"] is True
    assert sum(point["values"]["total"] for point in old["points"]) == sum(range(65)) + sum(range(40))
    young = deployment.answer("peaks", "30m", START, end)
    assert young["missing"] == [{"from": iso(START), "to": iso(START + 5400), "reason": "not_covered"}]
    assert [point["start"] for point in young["points"]] == [iso(START + 5400)]

    deployment.batch(START + 5400)
    whole = deployment.answer("peaks", "30m", START, end)
    assert whole["complete"] is True
    assert sum(point["values"]["events"] for point in whole["points"]) == 65 + 40
    assert [point["layer"] for point in whole["points"]] == ["batch", "batch", "batch", "speed"]
