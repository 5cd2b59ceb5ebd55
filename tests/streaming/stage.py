"""A speed layer on a stage: records in, `once`, and what Redis and the lake then hold."""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import redis
from pyspark.sql import SparkSession

from conf.settings import PACKAGED, Settings
from intake.source import open_source
from streaming.lake_writer import LakeWriter
from streaming.speed_lane import SpeedLane
from tidemark import keys
from tidemark.metrics.compiler import compile_metric
from tidemark.metrics.model import Metric
from tidemark.metrics.registry import load_registry
from tidemark.partials import PartialCodec
from tidemark.progress import Progress
from tidemark.windows import parse_instant


def access(event_id: str, time_of_day: str, device: str = "dev-1", count: int = 1, day: str = "2026-01-01") -> bytes:
    """One record of the access contract."""
    fields = {
        "event_id": event_id,
        "timestamp": f"{day}T{time_of_day}Z",
        "device_id": device,
        "user_id": "u",
        "access_count": count,
    }
    return json.dumps(fields).encode()


def at(time_of_day: str, day: str = "2026-01-01") -> int:
    return int(parse_instant(f"{day}T{time_of_day}Z", "test").timestamp())


def metric_of(name: str, sql: str, windows: Sequence[str] = ("10m", "30m"), **more: Any) -> Metric:
    """A metric compiled against the contracts that ship."""
    registry = load_registry([PACKAGED])
    retention = {"hot": "24h", "warm": "30d", "cold": "2y"}
    definition = {
        "name": name,
        "description": name,
        "sql": sql,
        "windows": list(windows),
        "schedule": "0 2 * * *",
        "retention": retention,
        "category": "test",
        **more,
    }
    return compile_metric(definition, registry.contracts)


TOTALS = metric_of(
    "totals", "SELECT device_id, SUM(access_count) AS total, COUNT(*) AS events FROM access GROUP BY device_id"
)


class Stage:
    """One contract with chosen metrics, run in this process."""

    def __init__(self, spark: SparkSession, settings: Settings, contract: str = "access") -> None:
        self.spark = spark
        self.settings = settings
        self.contract = load_registry([PACKAGED]).contracts[contract]
        self.source = open_source(settings, self.contract.newest)
        self.client = redis.Redis.from_url(str(settings.redis_url))

    def append(self, *records: bytes) -> None:
        self.source.append(records)

    def lane(self, metrics: Iterable[Metric] = (TOTALS,), lane: str = "exact") -> SpeedLane:
        return SpeedLane(
            lambda: self.spark, self.settings, self.contract, lane, tuple(metrics), self.source, self.client
        )

    def once(self, metrics: Iterable[Metric] = (TOTALS,), lane: str = "exact") -> SpeedLane:
        """Drain the source into the views."""
        speed = self.lane(metrics, lane)
        speed.start(once=True)
        drain(speed)
        return speed

    def write_lake(self) -> LakeWriter:
        lake = LakeWriter(lambda: self.spark, self.settings, self.contract, self.source)
        lake.start(once=True)
        drain(lake)
        return lake

    def windows(self, metric: Metric = TOTALS) -> dict[tuple[int, int, str], tuple[Any, ...]]:
        """(length, start, dims key) → partial: all that Redis holds of a metric."""
        codec, found = PartialCodec(metric), {}
        for length in metric.windows:
            for start in self.client.zrange(keys.speed_index(metric.family, length), 0, -1):
                fields = self.client.hgetall(keys.speed_window(metric.family, length, int(start)))
                found.update({(length, int(start), k.decode()): codec.decode(v) for k, v in fields.items()})
        return found

    def progress(self, lane: str = "exact") -> Progress:
        return Progress.from_json(self.client.get(keys.progress(self.contract.name, lane)) or b"")

    def late(self, lane: str = "exact") -> list[int]:
        return [int(minute) for minute in self.client.zrange(keys.late(self.contract.name, lane), 0, -1)]

    def accepted(self) -> dict[int, int]:
        held = self.client.hgetall(keys.accepted(self.contract.name))
        return {int(minute): int(count) for minute, count in held.items()}

    def dump(self) -> dict[bytes, Any]:
        """Every byte that Redis holds, but for writers' epochs and the record of progress."""
        read = {b"hash": self.client.hgetall, b"zset": lambda k: self.client.zrange(k, 0, -1, withscores=True)}
        changing = (b":epoch:", b":fence:", b":step:", b":progress:")
        kept = [key for key in self.client.keys("*") if not any(part in key for part in changing)]
        return {key: read.get(self.client.type(key), self.client.get)(key) for key in sorted(kept)}

    def uncommit(self, lane: str = "exact") -> int:
        """Undo the last commit, as a kill between the write to Redis and the commit would have it. Its number."""
        commits = Path(keys.checkpoint(self.settings.checkpoints_uri, self.contract.name, lane)) / "commits"
        batch = max(int(file.name) for file in commits.iterdir() if file.name.isdecimal())
        (commits / str(batch)).unlink()
        (commits / f".{batch}.crc").unlink(missing_ok=True)
        return batch


def drain(lane: SpeedLane | LakeWriter, timeout_s: float = 120) -> None:
    """Wait until a query that was started `once` has ended; raises what it failed with."""
    deadline = time.monotonic() + timeout_s
    while not lane.finished():
        assert time.monotonic() < deadline, f"{lane.name} did not end"
        time.sleep(0.02)
    if lane.failure is not None:
        raise lane.failure
