"""Fills an empty Redis from a query's own state: every window that is still open, as the stream would write it.

Windows that have left the state are gone with Redis; the families' `covered_from` says so until the batch has sealed
them. State holds aggregation *buffers*, not results: where the two differ, the result is computed here.
"""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import redis
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from streaming.checkpoint_log import Commit
from streaming.fenced_writer import Command, FencedWriter, answering
from tidemark import keys
from tidemark.metrics.model import Metric
from tidemark.metrics.slots import LAYOUTS, Slot
from tidemark.windows import WINDOWS, floor_to

_BUFFERS: dict[str, tuple[str, ...]] = {
    "avg": ("double", "bigint"),
    "count": ("bigint",),
    "var_pop": ("double", "double", "double"),
    "hll": ("binary",),
    "kll": ("binary",),
}
"""Spark's buffer columns of an aggregate; sum, min and max keep the result itself."""


def restore_open_windows(spark: SparkSession, checkpoint: str, lane: str, commit: Commit) -> pa.Table:
    """The groups that are open after a committed batch, in the columns of `aggregate_state`.

    What has expired may still be in the state of one partition and not of another, so none of it is restored.
    """
    # Trap: a store asks a coordinator that the session makes only when somebody asks for its queries; without one, a
    # process that runs no query itself cannot read state ("Cannot find endpoint: StateStoreCoordinator").
    _ = spark.streams.active
    state = (
        spark.read.format("statestore")
        .option("batchId", commit.batch)
        .option("operatorId", 0)
        .option("storeName", "default")
        .load(checkpoint)
    )
    is_open = F.unix_seconds("key.window.end") > commit.watermark_s
    return state.where(is_open).transform(read_results, LAYOUTS[lane]).toArrow()


def read_results(state: DataFrame, layout: tuple[Slot, ...]) -> DataFrame:
    """State rows (`key`, `value`) → results. Buffers are addressed by place: their names repeat."""
    types = [(slot, a, output) for slot in layout for a, output in zip(slot.aggregates, slot.outputs, strict=True)]
    fields: list[str] = []
    results: list[Column] = []
    for slot, aggregate, output in types:
        names = [f"b{len(fields) + i}" for i in range(len(_buffer(slot, aggregate)))]
        fields += [f"{name}: {kind}" for name, kind in zip(names, _buffer(slot, aggregate), strict=True)]
        results.append(_result(aggregate, [F.col(f"value.{name}") for name in names]).alias(output))
    placed = state.select("key", F.col("value").cast(f"struct<{','.join(fields)}>").alias("value"))
    start = F.unix_seconds("key.window.start").alias("start")
    return placed.select("key.family", "key.part", "key.wlen", start, "key.dims_key", *results)


def covered_again(
    metrics: Sequence[Metric], covered_from: Mapping[str, int | None], commit: Commit | None
) -> dict[str, int | None]:
    """Families → covered from, once the views hold what the state holds. `covered_from`: the same before."""
    if commit is None:
        return {}
    kept = [metric for metric in metrics if metric.family in covered_from]
    return {m.family: open_from(m, commit.watermark_s, covered_from[m.family]) for m in kept}


def open_from(metric: Metric, watermark_s: int, covered_from: int | None) -> int | None:
    """First event time from which the state holds every window of a metric, whatever its length."""
    if watermark_s == 0:
        return covered_from
    edge = floor_to(watermark_s, min(metric.windows))
    return edge if covered_from is None else max(edge, covered_from)


def wipe_views(writer: FencedWriter, batch: int, metrics: Sequence[Metric], since: int | None = None) -> None:
    """Remove what another checkpoint, or a Redis that lost writes, left of a lane: half a view is worse than none.

    Behind the fence like every write: one that hangs in here while a newer stream starts must not take that one's
    views away. The progress record goes first: whoever reads while the windows go is told that speed is not available.
    Accepted counts before `since` stay: nobody will count those minutes again.
    """
    writer.write(batch, removals(writer, metrics, since))


def removals(writer: FencedWriter, metrics: Sequence[Metric], since: int | None) -> Iterator[Command]:
    """The commands of `wipe_views`, for who writes more in the same batch."""
    contract, lane = writer.contract, writer.lane
    yield ("UNLINK", keys.progress(contract, lane))
    yield ("UNLINK", keys.late(contract, lane))
    if lane == "exact":
        yield from _accepted_since(writer, since)
    for metric in metrics:
        for length in WINDOWS.values():
            index = keys.speed_index(metric.family, length)
            with answering():
                starts = [int(member) for member in writer.client.zrange(index, 0, -1)]  # type: ignore[arg-type]
            for start in starts:
                yield ("UNLINK", keys.speed_window(metric.family, length, start))
            if starts:
                yield ("UNLINK", index)


def _accepted_since(writer: FencedWriter, since: int | None) -> Iterator[Command]:
    key = keys.accepted(writer.contract)
    if since is None:
        yield ("UNLINK", key)
        return
    with answering():
        minutes: list[bytes] = writer.client.hkeys(key)  # type: ignore[assignment]
    for minute in minutes:
        if int(minute) >= since:
            yield ("HDEL", key, minute)


def forget_pointers(client: redis.Redis) -> None:
    """Drop all pointers to publications: a Redis that lost speed's writes may have gone back behind the batch's, too.

    Also those of metrics that no stream serves. Readers then ask the lake, which has the truth, and the next batch
    points to it again.
    """
    with answering():
        names = list(client.scan_iter(match=keys.publication("*"), count=1_000))
        if names:
            client.unlink(*names)


def _buffer(slot: Slot, aggregate: str) -> tuple[str, ...]:
    return _BUFFERS.get(aggregate, (slot.spark_type,))


def _result(aggregate: str, buffers: list[Column]) -> Column:
    if aggregate == "avg":
        return F.try_divide(buffers[0], buffers[1])
    if aggregate == "var_pop":
        return F.try_divide(buffers[2], buffers[0])
    return buffers[0]
