"""The universal state of the speed layer, as pure transforms.

One stateful query serves every metric of a contract: each accepted event becomes one row per (metric, part, window
length), and one grouping by (family, part, length, window, dims key) folds the fixed slots. A metric added or dropped
changes only the projection in front of the grouping, so the state of the others survives a restart.
"""

import math
import re
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from tidemark.contracts import Contract, ContractSet
from tidemark.dims import dims_key_sql
from tidemark.errors import Fault
from tidemark.keys import EVENTS_FAMILY, EVENTS_WINDOW_S
from tidemark.metrics.model import Metric
from tidemark.metrics.slots import LAYOUTS, Slot, slot_rows
from tidemark.metrics.state import aggregate_sql

BUCKET = "_bucket"
OBSERVED = "seen"
_WATERMARK_MARK = "spark.watermarkDelayMs"
_NO_FAMILY = "_none@1"
GROUP = ("family", "part", "wlen", "window", "dims_key")


def bucket_s(contract: Contract) -> int:
    """Grain of lateness in seconds: the watermark moves by whole buckets, and a bucket is late as a whole or not."""
    return math.gcd(EVENTS_WINDOW_S, contract.late_after_s)


def watermark_delay_s(contract: Contract) -> int:
    """Delay of the watermark column, which is the bucket's start.

    One bucket more than `late_after`: a bucket at or below the watermark then ended at least `late_after` before the
    newest event's bucket began, so no event is refused earlier than the contract promises.
    """
    return contract.late_after_s + bucket_s(contract)


def columns_read(contract: ContractSet, metrics: Sequence[Metric]) -> list[str]:
    """The fields without which the speed views of these metrics cannot be computed: no other goes into a shuffle."""
    needed = {contract.newest.event_time, contract.newest.dedupe} | _names_in(metrics)
    return [field.name for field in contract.columns if field.name in needed]


def add_bucket(df: DataFrame, contract: ContractSet) -> DataFrame:
    """Valid events with the bucket that they are in."""
    second = F.unix_seconds(contract.newest.event_time)
    start = F.timestamp_seconds(second - F.pmod(second, F.lit(bucket_s(contract.newest))))
    return df.withColumn(BUCKET, start)


def observe_events(df: DataFrame, contract: ContractSet) -> DataFrame:
    """Counts what enters, before lateness and duplicates: the buckets seen are how late ones are found."""
    return df.observe(
        OBSERVED,
        F.count(F.lit(1)).alias("valid"),
        F.max(F.unix_micros(contract.newest.event_time)).alias("max_event_us"),
        F.max(F.unix_micros("received_at")).alias("max_received_us"),
        F.collect_set(F.unix_seconds(BUCKET)).alias("buckets"),
    )


def keep_unsealed(df: DataFrame, since: int | None) -> DataFrame:
    """Events from `since` on, in seconds: what is before was sealed when the checkpoint began. None: all.

    After `observe_events`: an event that is left to the batch still says how far the source was read.
    """
    return df if since is None else df.where(F.unix_seconds(BUCKET) >= since)


def accept_once(df: DataFrame, contract: ContractSet) -> DataFrame:
    """Drops late events and repeated ids. Stateful; streaming frames only."""
    newest = contract.newest
    late = df.withWatermark(BUCKET, f"{watermark_delay_s(newest)} seconds")
    return late.dropDuplicatesWithinWatermark([newest.dedupe])


def explode_families(df: DataFrame, metrics: Sequence[Metric], lane: str) -> DataFrame:
    """One row per (event, family, part, window length), with the lane's slots.

    Trap: the window must be Spark's own struct over the watermark column, untouched, or nothing is ever evicted. An
    array of rows that differ so much as in a null flag is enough to lose the mark, hence `_nullable` and the check.
    """
    lengths = sorted({length for metric in metrics for length in metric.windows} | {EVENTS_WINDOW_S})
    for length in lengths:
        df = df.withColumn(f"_w{length}", F.window(BUCKET, f"{length} seconds"))
    rows = [row for metric in metrics for row in _metric_rows(metric, LAYOUTS[lane])]
    if lane == "exact":
        rows.append(_row(EVENTS_FAMILY, 0, EVENTS_WINDOW_S, "''", {"long_sum0": "1L"}, LAYOUTS[lane]))
    elif not rows:
        # All metrics of the lane were set aside: it goes on reading, so that its position does not hold up the source.
        rows.append(_row(_NO_FAMILY, 0, EVENTS_WINDOW_S, "''", {}, LAYOUTS[lane]))
    exploded = df.select(F.explode(F.array(*rows)).alias("row")).where(F.col("row").isNotNull()).select("row.*")
    if df.isStreaming and _WATERMARK_MARK not in exploded.schema["window"].metadata:
        raise Fault("the speed views' window does not carry the watermark: their state would grow for ever")
    return exploded


def aggregate_state(df: DataFrame, lane: str) -> DataFrame:
    """One row per (family, part, window length, window start, dims key): absolute slot values."""
    layout = LAYOUTS[lane]
    folded = [
        F.expr(aggregate_sql(aggregate, slot.name)).alias(output)
        for slot in layout
        for aggregate, output in zip(slot.aggregates, slot.outputs, strict=True)
    ]
    outputs = [output for slot in layout for output in slot.outputs]
    start = F.unix_seconds("window.start").alias("start")
    return df.groupBy(*GROUP).agg(*folded).select("family", "part", "wlen", start, "dims_key", *outputs)


def _metric_rows(metric: Metric, layout: tuple[Slot, ...]) -> list[Column]:
    rows = []
    for length in metric.windows:
        for slot_row in slot_rows(metric):
            row = _row(metric.family, slot_row.part, length, dims_key_sql(metric.dims), slot_row.inputs, layout)
            rows.append(F.when(F.expr(metric.where), row) if metric.where else row)
    return rows


def _row(
    family: str, part: int, length: int, dims_key: str, inputs: dict[str, str], layout: tuple[Slot, ...]
) -> Column:
    return F.struct(
        F.lit(family).alias("family"),
        F.lit(part).alias("part"),
        F.lit(length).alias("wlen"),
        F.col(f"_w{length}").alias("window"),
        _nullable(dims_key, "string").alias("dims_key"),
        *(_nullable(inputs.get(slot.name), slot.spark_type).alias(slot.name) for slot in layout),
    )


def _nullable(sql: str | None, spark_type: str) -> Column:
    """The value, declared nullable: a constant condition would be seen through.

    Most slots of a row are empty: a plain NULL each, or the generated code is too long for the JVM to compile.
    """
    if sql is None:
        return F.lit(None).cast(spark_type)
    return F.when(F.col(BUCKET).isNotNull(), F.expr(sql).cast(spark_type))


def _names_in(metrics: Sequence[Metric]) -> set[str]:
    """What a metric's SQL may name, columns and fields of structs: compiled SQL quotes every one of them."""
    texts = [text for metric in metrics for text in _texts(metric)]
    return {name for text in texts for name in re.findall(r"`([^`]+)`", text)}


def _texts(metric: Metric) -> list[str]:
    dims = [dim.sql for dim in metric.dims]
    return [*(component.sql for component in metric.components), *dims, metric.where or ""]
