"""A small lake of one contract: records arrive in bronze as the lake writer would have put them there."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
import yaml

from conf.settings import Settings
from spark_jobs import nightly
from spark_jobs.batch_report import BatchReport
from spark_jobs.delta_log import open_table
from tidemark.keys import LakeTables
from tidemark.metrics.registry import Registry, load_registry
from tidemark.publication import Publication

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

START = datetime(2026, 1, 1, tzinfo=UTC)
T0 = int(START.timestamp())
"""Event time 0 of the tests; events are given by seconds after it."""
HOUR = 3_600

METRIC = {
    "name": "device_access",
    "description": "Accesses per device",
    "sql": "SELECT device_id, AVG(access_count) AS avg_access, COUNT(*) AS total FROM access GROUP BY device_id",
    "windows": ["10m", "30m"],
    "schedule": "0 2 * * *",
    "retention": {"hot": "24h", "warm": "30d", "cold": "2y"},
    "category": "engagement",
    "publish": {"latest": "agg:device:{device_id}:latest"},
}


def access(event_id: str, at_s: float, count: int = 1, device: str = "dev-1") -> dict[str, Any]:
    moment = (START + timedelta(seconds=at_s)).isoformat()
    return {"event_id": event_id, "timestamp": moment, "device_id": device, "user_id": "u-1", "access_count": count}


def no_spark() -> "SparkSession":
    """The session of a batch that must not need one."""
    raise AssertionError("Spark was asked for")


class Lake:
    """One home with the access contract and one metric; `arrive`, then `batch`."""

    def __init__(self, spark: "SparkSession", settings: Settings, folder: Path, client: "redis.Redis") -> None:
        self.spark, self.settings, self.redis, self._folder = spark, settings, client, folder
        self.tables = LakeTables(settings.lake_uri)
        self._arrived = 0
        (folder / "contracts").mkdir(parents=True)
        (folder / "metrics").mkdir()
        packaged = Path(__file__).parents[2] / "conf/contracts/access.yaml"
        (folder / "contracts/access.yaml").write_text(packaged.read_text())
        self.define(METRIC)

    def define(self, metric: dict[str, Any]) -> None:
        """Add or change a metric."""
        (self._folder / f"metrics/{metric['name']}.yaml").write_text(yaml.safe_dump(metric))

    @property
    def registry(self) -> Registry:
        return load_registry([self._folder])

    def arrive(self, *events: dict[str, Any]) -> None:
        """One micro-batch of the lake writer: one Delta commit."""
        from quality.stream_check import parse_events
        from streaming.lake_writer import select_events

        contracts = self.registry.contracts["access"]
        rows = [
            (bytearray(json.dumps(event).encode()), START + timedelta(days=1, milliseconds=i), "seg", 0, i)
            for i, event in enumerate(events, self._arrived)
        ]
        self._arrived += len(rows)
        columns = "value BINARY, received_at TIMESTAMP, source STRING, source_partition INT, source_offset BIGINT"
        records = self.spark.createDataFrame(rows, columns).coalesce(1)
        parsed = select_events(parse_events(records, contracts, self.settings), contracts)
        writer = parsed.write.format("delta").mode("append").partitionBy("ingest_date")
        writer.save(self.tables.bronze_events("access"))

    def batch(self, through_s: int | None = HOUR, full: bool = False, now_s: float = 30 * 86_400) -> BatchReport:
        """The nightly batch, with the clock at `now_s`."""
        through = None if through_s is None else T0 + through_s
        return nightly.run(lambda: self.spark, self.settings, self.registry, through, T0 + now_s, full)

    def publication(self, metric: str = "device_access") -> Publication:
        return Publication.from_json(self.redis.get(f"tm1:publication:{metric}"))  # type: ignore[arg-type]

    def rows(self, uri: str) -> list[dict[str, Any]]:
        """All rows of a table, newest version."""
        table = open_table(uri)
        return table.to_pyarrow_table().to_pylist() if table else []

    def gold(self, metric: str = "device_access") -> dict[tuple[str, int, str], dict[str, Any]]:
        """(window, start after T0, dims key) → row, as the publication in force pins it."""
        table = open_table(self.tables.gold(metric), self.publication(metric).gold_version)
        rows = table.to_pyarrow_table().to_pylist() if table else []
        return {(row["window"], int(row["window_start"].timestamp()) - T0, row["dims_key"]): row for row in rows}


@pytest.fixture
def lake(spark: "SparkSession", settings: Settings, tmp_path: Path, redis_url: str) -> Iterator[Lake]:
    with redis.Redis.from_url(redis_url) as client:
        yield Lake(spark, settings, tmp_path / "definitions", client)
