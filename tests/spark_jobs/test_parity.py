"""Speed against batch, window by window."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from datasketches import hll_sketch, tgt_hll_type
from deltalake import write_deltalake

from intake.position import Position
from spark_jobs.parity import Parity, compare
from spark_jobs.plan import plan_metric
from tests.packs import SHIPPED
from tidemark import keys
from tidemark.metrics.model import HLL_LG_K, Kind, Metric
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


def _speed(client: "redis.Redis", start: int, packed: bytes, metric: Metric = METRIC) -> None:
    client.hset(keys.speed_window(metric.family, 600, T0 + start), KEY, packed)
    client.zadd(keys.speed_index(metric.family, 600), {str(T0 + start): T0 + start})


def _progress(
    client: "redis.Redis", position: Position, watermark: int, covered_from: int | None, metric: Metric = METRIC
) -> None:
    progress = Progress(1, 1, 0.0, watermark, None, position, {metric.family: covered_from})
    client.set(keys.progress(metric.contract, metric.lane), progress.to_json())


def _compare(client: "redis.Redis", uri: str, metric: Metric = METRIC) -> Parity:
    return compare(client, plan_metric(metric, None, T0 + 3_600, []), uri, 0, END)[0]


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


def _counted_by_country(events: int, users: int) -> bytes:
    """A partial of `geo`: an exact count beside a sketch."""
    sketch = hll_sketch(HLL_LG_K, tgt_hll_type.HLL_8)
    for user in range(users):
        sketch.update(f"user-{user}")
    geo = SHIPPED.metrics["geo"]
    held = {Kind.COUNT: events, Kind.HLL: sketch.serialize_compact()}
    return PartialCodec(geo).encode(tuple(held[component.kind] for component in geo.components))


def test_beside_a_sketch_only_what_comes_from_it_may_differ_a_little(redis_url: str, uri: str) -> None:
    """Two events of a hundred that speed lacked went unseen: the sketch's tolerance held for the count too."""
    geo = SHIPPED.metrics["geo"]
    _gold(uri, (0, _counted_by_country(100, 1_000)), (600, _counted_by_country(100, 1_000)))
    with redis.Redis.from_url(redis_url) as client:
        _progress(client, END, T0, None, geo)
        _speed(client, 0, _counted_by_country(98, 1_000), geo)
        _speed(client, 600, _counted_by_country(100, 990), geo)
        found = _compare(client, uri, geo)
    assert (found.windows, found.mismatched, found.not_compared) == (2, 1, 0)
    assert 0.0 < found.max_relative_error < 0.05
