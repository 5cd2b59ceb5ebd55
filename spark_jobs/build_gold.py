"""silver → gold: one row per (window length, window, dims) with the finished values and the mergeable partial.

Whole granules are recomputed, for every declared window length, from silver pinned at one version, and replace what
gold had in them, so that a granule which lost its rows is emptied and a rerun changes nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from runtime.python_worker import keep_archives
from spark_jobs.commit_conflicts import retry_conflicts
from spark_jobs.delta_log import head_version
from spark_jobs.event_columns import with_event_columns
from spark_jobs.gold_table import is_ahead, span_sql, take_back, write_gold
from spark_jobs.plan import MetricPlan
from spark_jobs.window_groups import EVENTS, FOLDS, START, group_events
from tidemark.contracts import ContractSet
from tidemark.dims import dims_key_sql
from tidemark.keys import LakeTables
from tidemark.metrics.model import Metric
from tidemark.metrics.state import metric_state
from tidemark.partials import PartialCodec
from tidemark.windows import Span, iso, window_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_SPARK_TYPES = {
    "string": "STRING",
    "long": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
}


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
    groups = group_events(events, metric, contracts)
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
        keep_archives()
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
            if column.aggregate in FOLDS:
                fold = getattr(F, FOLDS[column.aggregate])
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
            if column.aggregate in FOLDS:
                value = f"CASE WHEN {mine} THEN {column.input_sql} END"
                columns.append(F.expr(f"{column.aggregate}({value})").alias(f"{metric.name}.{column.name}"))
    row = events.agg(*columns).first()
    found: dict[str, dict[str, Any]] = {metric.name: {} for metric, _ in metrics}
    for key, value in (row.asDict() if row else {}).items():
        name, column_name = key.split(".", 1)
        found[name][column_name] = value
    return found
