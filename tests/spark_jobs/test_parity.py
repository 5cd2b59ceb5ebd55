"""Speed against batch, window by window."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from deltalake import write_deltalake

from intake.position import Position
from spark_jobs.parity import Parity, compare
from spark_jobs.plan import plan_metric
from tests.packs import SHIPPED
from tidemark import keys
from tidemark.partials import PartialCodec
from tidemark.progress import Progress

METRIC = SHIPPED.metrics["device_access"]
T0 = 1_767_225_600
END: Position = {"segments": ["00000000000000000001-a-3.parquet"]}
KEY = "5:dev-1"


def _packed(total: int, count: int) -> bytes:
    partial = [count if str(c.kind) == "count" else total for c in METRIC.components]
    return PartialCodec(METRIC).encode(tuple(partial))


def _gold(uri: str, *windows: tuple[int, bytes]) -> None:
    moments = [datetime.fromtimestamp(T0 + start, UTC) for start, _ in windows]
    table = pa.table(
        {
            "window": ["10m"] * len(windows),
            "window_start": pa.array(moments, pa.timestamp("us", "UTC")),
            "window_date": pa.array([moment.date() for moment in moments]),
            "dims_key": [KEY] * len(windows),
            "partial": [packed for _, packed in windows],
        }
    )
    write_deltalake(uri, table, partition_by=["window_date"])


def _speed(client: "redis.Redis", start: int, packed: bytes) -> None:
    client.hset(keys.speed_window(METRIC.family, 600, T0 + start), KEY, packed)
    client.zadd(keys.speed_index(METRIC.family, 600), {str(T0 + start): T0 + start})


def _progress(client: "redis.Redis", position: Position, watermark: int, covered_from: int | None) -> None:
    progress = Progress(1, 1, 0.0, watermark, None, position, {METRIC.family: covered_from})
    client.set(keys.progress("access", "exact"), progress.to_json())


def _compare(client: "redis.Redis", uri: str) -> Parity:
    return compare(client, plan_metric(METRIC, None, T0 + 3_600, []), uri, 0, END)[0]


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return str(tmp_path / "gold")


def test_windows_that_agree_and_windows_that_differ_are_told_apart(redis_url: str, uri: str) -> None:
    _gold(uri, (0, _packed(6, 2)), (600, _packed(8, 2)), (1200, _packed(1, 1)))
    with redis.Redis.from_url(redis_url) as client:
        _progress(client, END, T0, None)
        _speed(client, 0, _packed(6, 2))
        _speed(client, 600, _packed(4, 1))
        _speed(client, 1800, _packed(1, 1))
        found = _compare(client, uri)
    assert (found.windows, found.mismatched, found.not_compared) == (4, 3, 0)
    assert found.max_relative_error == 1.0


def test_a_window_that_speed_never_covered_is_not_compared(redis_url: str, uri: str) -> None:
    _gold(uri, (0, _packed(6, 2)), (600, _packed(8, 2)))
    with redis.Redis.from_url(redis_url) as client:
        _progress(client, END, T0, T0 + 600)
        _speed(client, 600, _packed(8, 2))
        found = _compare(client, uri)
    assert (found.windows, found.mismatched, found.not_compared) == (1, 0, 1)


def test_a_window_that_speed_has_not_finished_is_not_compared(redis_url: str, uri: str) -> None:
    _gold(uri, (0, _packed(6, 2)), (600, _packed(8, 2)))
    with redis.Redis.from_url(redis_url) as client:
        _progress(client, {"segments": []}, T0 + 700, None)
        _speed(client, 0, _packed(6, 2))
        _speed(client, 600, _packed(4, 1))
        found = _compare(client, uri)
    assert (found.windows, found.mismatched, found.not_compared) == (1, 0, 1)


def test_without_a_speed_layer_nothing_is_compared(redis_url: str, uri: str) -> None:
    _gold(uri, (0, _packed(6, 2)))
    with redis.Redis.from_url(redis_url) as client:
        found = _compare(client, uri)
    assert (found.windows, found.not_compared) == (0, 1)
