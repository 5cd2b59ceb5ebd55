"""silver → gold: one row per (window length, window, dims) with the finished values and the mergeable partial.

Whole granules are recomputed, for every declared window length, from silver pinned at one version, and replace what
gold had in them, so that a granule which lost its rows is emptied and a rerun changes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from spark_jobs.commit_conflicts import retry_conflicts
from spark_jobs.delta_log import head_version
from spark_jobs.event_columns import with_event_columns
from spark_jobs.gold_table import is_ahead, span_sql, take_back, write_gold
from spark_jobs.plan import MetricPlan
from tidemark.contracts import ContractSet
from tidemark.dims import dims_key_sql
from tidemark.keys import LakeTables
from tidemark.metrics.model import Metric
from tidemark.metrics.state import aggregate_sql, metric_state
from tidemark.partials import PartialCodec
from tidemark.windows import Span, iso, window_name

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_SPARK_TYPES = {
    "string": "STRING",
    "long": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
}
START, WINDOW_START, EVENTS, INPUT = "@start_s", "@window_start_s", "@events", "@"
"""Columns of groups that no dimension can have the name of."""
_FOLDS = {"sum": "sum", "count": "sum", "min": "min", "max": "max"}
"""How a state column of groups folds into a total of the table; sketches and averages have none."""


@dataclass(frozen=True, slots=True)
class GoldResult:
    """What one build did to one metric. `version`: the Delta version to pin, None while there is no table.

    `totals`: state columns folded over all groups of a window length, `"<window>.<column>"` → value.
    """

    metric: str
    version: int | None
    rows: int = 0
    written: bool = False
    totals: dict[str, Any] | None = None


def run(spark: "SparkSession", tables: LakeTables, contracts: ContractSet, plan: MetricPlan, silver: int) -> GoldResult:
    """Recompute the plan's granules from silver at a version. Grain of the result: one row per (window, dims)."""
    return retry_conflicts(lambda: _build(spark, tables, contracts, plan, silver), tables.gold(plan.metric.name))


def _build(
    spark: "SparkSession", tables: LakeTables, contracts: ContractSet, plan: MetricPlan, silver: int
) -> GoldResult:
    from pyspark.sql import Observation

    metric, uri = plan.metric, tables.gold(plan.metric.name)
    spark.sparkContext.setJobDescription(f"gold {metric.name} through {iso(plan.sealed_through)}")
    if not plan.rebuild and is_ahead(uri, plan):
        take_back(spark, uri, plan)
    events = read_silver(spark, tables, contracts, silver, plan.spans)
    observation = Observation(f"gold-{metric.name}")
    groups = group_events(events, metric, contracts.newest.event_time)
    groups = groups.observe(observation, *_totals(metric))
    rows = pack_rows(shape_rows(groups, metric, plan.version), metric)
    write_gold(rows, uri, plan)
    totals = dict(observation.get)
    count = int(totals.pop("rows") or 0)
    return GoldResult(metric.name, head_version(uri), count, True, totals)


def read_silver(
    spark: "SparkSession", tables: LakeTables, contracts: ContractSet, version: int, spans: Sequence[Span]
) -> "DataFrame":
    """Events of the spans, one row per event id, in the newest shape of the contract."""
    silver = spark.read.format("delta").option("versionAsOf", version).load(tables.silver(contracts.name))
    silver = silver.where(span_sql(spans, contracts.newest.event_time, "event_date"))
    return with_event_columns(silver, contracts)


def group_events(events: "DataFrame", metric: Metric, event_time: str) -> "DataFrame":
    """Accumulate: one row per (window_s, START in seconds, dims), with the metric's state columns and EVENTS.

    Sums and extremes of longer windows are folded from those of the shortest, which all of them are multiples of.
    A sketch or a mean merged from its parts has other bytes than the stream's: then every window is accumulated from
    the events.
    """
    shortest, *longer = sorted(metric.windows)
    if not longer or any(column.aggregate not in _FOLDS for column in metric_state(metric)):
        return _accumulate(events, metric, event_time, metric.windows)
    return _fold_groups(_accumulate(events, metric, event_time, [shortest]), metric)


def _accumulate(events: "DataFrame", metric: Metric, event_time: str, windows: Sequence[int]) -> "DataFrame":
    from pyspark.sql import functions as F

    state = metric_state(metric)
    rows = events.where(metric.where) if metric.where else events
    rows = rows.selectExpr(
        f"unix_seconds(`{event_time}`) AS `{START}`",
        *(f"{dim.sql} AS `{dim.name}`" for dim in metric.dims),
        *(f"({column.input_sql}) AS `{INPUT}{column.name}`" for column in state),
    )
    folded = [F.expr(aggregate_sql(c.aggregate, f"`{INPUT}{c.name}`")).alias(c.name) for c in state]
    return _group(_place(rows, windows), metric, [F.count(F.lit(1)).alias(EVENTS), *folded])


def _fold_groups(groups: "DataFrame", metric: Metric) -> "DataFrame":
    from pyspark.sql import functions as F

    folded = [getattr(F, _FOLDS[c.aggregate])(c.name).alias(c.name) for c in metric_state(metric)]
    placed = _place(groups.drop("window_s"), metric.windows)
    return _group(placed, metric, [F.sum(f"`{EVENTS}`").alias(EVENTS), *folded])


def _place(rows: "DataFrame", windows: Sequence[int]) -> "DataFrame":
    """START, until now any second, becomes that of the row's window; one row per window length, `window_s`."""
    lengths = ", ".join(f"{window_s}L" for window_s in windows)
    each = lengths if len(windows) == 1 else f"explode(array({lengths}))"
    rows = rows.selectExpr(f"{each} AS window_s", "*")
    return rows.selectExpr("*", f"`{START}` - pmod(`{START}`, window_s) AS `{WINDOW_START}`").drop(START)


def _group(rows: "DataFrame", metric: Metric, folded: Sequence["Column"]) -> "DataFrame":
    keys = ["window_s", WINDOW_START, *(dim.name for dim in metric.dims)]
    return rows.groupBy(*(f"`{key}`" for key in keys)).agg(*folded).withColumnRenamed(WINDOW_START, START)


def shape_rows(groups: "DataFrame", metric: Metric, version: int) -> "DataFrame":
    """The columns of gold but the partial, followed by the state columns that it is packed from."""
    names = " ".join(f"WHEN {seconds} THEN '{window_name(seconds)}'" for seconds in metric.windows)
    dims = [replace(dim, sql=f"`{dim.name}`") for dim in metric.dims]
    return groups.selectExpr(
        f"'{metric.name}' AS metric",
        f"{version}L AS version",
        f"CASE window_s {names} END AS window",
        f"timestamp_seconds(`{START}`) AS window_start",
        f"timestamp_seconds(`{START}` + window_s) AS window_end",
        *(f"`{dim.name}`" for dim in metric.dims),
        f"{dims_key_sql(dims)} AS dims_key",
        *(f"CAST({o.final.spark_sql} AS {_SPARK_TYPES[o.type]}) AS `{o.name}`" for o in metric.outputs),
        f"CAST(timestamp_seconds(`{START}`) AS DATE) AS window_date",
        *(f"`{column.name}` AS `state_{column.name}`" for column in metric_state(metric)),
    )


def pack_rows(rows: "DataFrame", metric: Metric) -> "DataFrame":
    """State columns → `partial`, the bytes that Redis holds too."""
    from pyspark.sql.types import BinaryType, StructType

    names = [column.name for column in metric_state(metric)]
    kept = [name for name in rows.columns if name not in {f"state_{column}" for column in names}]
    schema = StructType([rows.schema[name] for name in kept]).add("partial", BinaryType())

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        codec = PartialCodec(metric)
        for batch in batches:
            if batch.num_rows:
                packed = codec.encode_columns({name: batch.column(f"state_{name}") for name in names})
                columns = [batch.column(name) for name in kept]
                yield pa.RecordBatch.from_arrays([*columns, pa.array(packed, pa.binary())], [*kept, "partial"])

    order = [*(name for name in kept if name != "window_date"), "partial", "window_date"]
    return rows.mapInArrow(pack, schema).select(*(f"`{name}`" for name in order))


def _totals(metric: Metric) -> list[Any]:
    """Aggregates over groups: rows of the table, and per window length what its groups add up to."""
    from pyspark.sql import functions as F

    totals = [F.count(F.lit(1)).alias("rows")]
    for seconds in metric.windows:
        of_window = F.col("window_s") == seconds
        totals.append(F.sum(F.when(of_window, F.col(f"`{EVENTS}`"))).alias(f"{window_name(seconds)}.events"))
        for column in metric_state(metric):
            if column.aggregate in _FOLDS:
                fold = getattr(F, _FOLDS[column.aggregate])
                total = fold(F.when(of_window, F.col(column.name)))
                totals.append(total.alias(f"{window_name(seconds)}.{column.name}"))
    return totals


def silver_totals(events: "DataFrame", metrics: Sequence[tuple[Metric, str]]) -> "dict[str, dict[str, Any]]":
    """metric → state column → its total straight from events, in one pass, without windows: what gold must add up to.

    `metrics`: each with the condition on the events that its plan covers.
    """
    from pyspark.sql import functions as F

    columns = []
    for metric, covered in metrics:
        mine = f"({covered})" + (f" AND ({metric.where})" if metric.where else "")
        columns.append(F.expr(f"sum(CASE WHEN {mine} THEN 1L END)").alias(f"{metric.name}.events"))
        for column in metric_state(metric):
            if column.aggregate in _FOLDS:
                value = f"CASE WHEN {mine} THEN {column.input_sql} END"
                columns.append(F.expr(f"{column.aggregate}({value})").alias(f"{metric.name}.{column.name}"))
    row = events.agg(*columns).first()
    found: dict[str, dict[str, Any]] = {metric.name: {} for metric, _ in metrics}
    for key, value in (row.asDict() if row else {}).items():
        name, column_name = key.split(".", 1)
        found[name][column_name] = value
    return found
