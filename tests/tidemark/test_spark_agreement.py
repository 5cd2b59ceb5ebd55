"""Spark and Python give the same numbers: state columns, packed partials, finalise expressions, dims keys, slots.

Everything is computed in few Spark jobs over one small literal frame; plain Python over the same rows is the judge.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tests.tidemark.definitions import FIELDS, compiled, contract_set, measure
from tests.tidemark.expressions import EVENTS, ORACLE, Event, long, strict
from tidemark.dims import dims_key_sql, encode_dims
from tidemark.metrics.final import Call, Final
from tidemark.metrics.model import SKETCHES, Kind, Metric
from tidemark.metrics.operations import OPERATIONS
from tidemark.metrics.slots import SLOTS_SKETCH, place, slot_rows, unslot
from tidemark.metrics.state import aggregate_sql, metric_state
from tidemark.partials import PartialCodec, finalise, merge_partials
from tidemark.windows import to_micros

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark
METRICS = {expression: measure(expression) for expression in ORACLE}
GROUPS: dict[str, list[Event]] = defaultdict(list)
for _event in EVENTS:
    GROUPS[_event["g"]].append(_event)


@pytest.fixture(scope="module")
def frame(spark: "SparkSession") -> "Iterator[DataFrame]":
    fields = ", ".join(f"`{field.name}` {field.spark_type}" for field in contract_set().newest.fields)
    rows = [tuple(row[name] for name in ("g", *FIELDS)) for row in EVENTS]
    frame = spark.createDataFrame(rows, f"g STRING, {fields}").coalesce(2).cache()
    yield frame
    frame.unpersist()


def of_metric(k: int, sql: str) -> str:
    """State columns of many metrics side by side in one frame."""
    return re.sub(r"\bc(\d+)_", rf"m{k}_c\1_", sql)


@pytest.fixture(scope="module")
def table(frame: "DataFrame") -> pa.Table:
    """One row a group: every metric's state columns and finished value."""
    from pyspark.sql import functions as F

    states, finals = [], []
    for k, metric in enumerate(METRICS.values()):
        states += [F.expr(c.aggregate_sql).alias(of_metric(k, c.name)) for c in metric_state(metric)]
        finals.append(F.expr(of_metric(k, metric.outputs[0].final.spark_sql)).alias(f"v{k}"))
    grouped = frame.groupBy("g").agg(*states).withColumn("window_s", F.lit(600))
    return grouped.select("*", *finals).orderBy("g").toArrow()


def packed(table: pa.Table, k: int, metric: Metric) -> list[bytes]:
    names = [column.name for column in metric_state(metric)]
    return PartialCodec(metric).encode_columns({name: table[of_metric(k, name)] for name in names})


def as_value(value: Any) -> Any:
    """A Spark value in the form of `finalise`: NULL for what JSON cannot say, microseconds for instants."""
    if isinstance(value, datetime):
        return to_micros(value.replace(tzinfo=value.tzinfo or UTC))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-300)
    return bool(one == other) and type(one) is type(other)


def beyond_long(metric: Metric, partial: tuple[Any, ...]) -> bool:
    """A sum that a BIGINT column of gold cannot hold: NULL there, while the answer shows it."""
    pairs = zip(metric.components, partial, strict=True)
    return any(c.kind is Kind.SUM_INT and p is not None and long(p) is None for c, p in pairs)


@pytest.mark.parametrize(("k", "expression"), list(enumerate(ORACLE)), ids=list(ORACLE))
def test_spark_and_python_finish_with_the_same_value(table: pa.Table, k: int, expression: str) -> None:
    metric = METRICS[expression]
    partials = [PartialCodec(metric).decode(bytes_) for bytes_ in packed(table, k, metric)]
    for group, partial, spark_value in zip(table["g"].to_pylist(), partials, table[f"v{k}"].to_pylist(), strict=True):
        value = finalise(metric, partial, 600)["v"]
        expected = ORACLE[expression](GROUPS[group])
        if group == "extremes" and any(c.kind is Kind.MOMENTS for c in metric.components):
            continue  # squares of such numbers leave the doubles; each side may say NULL or a huge number
        if group == "extremes" and "APPROX_PERCENTILE(amount" in expression:
            expected = value if math.isclose(value, expected) else expected  # the sketch holds doubles
        assert alike(value, expected), (group, value, expected)
        if not beyond_long(metric, partial):
            assert alike(value, as_value(spark_value)), (group, value, spark_value)


def test_every_operation_and_kind_is_among_them() -> None:
    def operations(final: Final) -> set[str]:
        return {final.op}.union(*map(operations, final.args)) if isinstance(final, Call) else set()

    used = {op for metric in METRICS.values() for op in operations(metric.outputs[0].final)}
    assert used == set(OPERATIONS)
    assert {c.kind for metric in METRICS.values() for c in metric.components} == set(Kind)


def test_partials_of_parts_merge_to_the_partial_of_the_whole(table: pa.Table) -> None:
    """Groups stand for layers and windows: merged, they answer for all events."""
    for k, (expression, metric) in enumerate(METRICS.items()):
        if any(c.kind in (Kind.MOMENTS, *SKETCHES) for c in metric.components) or "amount" in expression:
            continue
        codec = PartialCodec(metric)
        parts = [codec.decode(p) for p, g in zip(packed(table, k, metric), table["g"].to_pylist(), strict=True)
                 if g != "extremes"]  # fmt: skip
        value = finalise(metric, merge_partials(metric, parts), 600)["v"]
        expected = ORACLE[expression]([e for e in EVENTS if e["g"] != "extremes"])
        assert alike(value, expected), (expression, value, expected)


WIDE = {
    "exact": compiled(
        "SELECT kind, device, SUM(amount) AS a, SUM(steps) AS b, SUM(site) AS c, AVG(whole) AS d, COUNT(*) AS n, "
        "SUM(price) AS e, MIN(amount) AS f, MIN(steps) AS g, MAX(at) AS h, MAX(volts) AS i, MIN(watts) AS j, "
        "MIN(volts) AS k, STDDEV(watts) AS l, VARIANCE(volts) AS m, SUM(watts) AS o, SUM(volts) AS p, "
        "SUM(meta.load) AS q, AVG(watts + volts) AS r FROM events WHERE kind IS NULL OR kind <> 'b' "
        "GROUP BY kind, device"
    ),
    "sketch": compiled(
        "SELECT COUNT(*) AS n, APPROX_COUNT_DISTINCT(device) AS a, APPROX_COUNT_DISTINCT(kind) AS b, "
        "APPROX_PERCENTILE(steps, 0.5) AS c, APPROX_PERCENTILE(volts, 0.9) AS d, MAX(watts) AS e, AVG(steps) AS f "
        "FROM events"
    ),
    "plain": compiled("SELECT site, COUNT(*) AS n FROM events WHERE active GROUP BY site"),
}


def test_the_slot_layout_gives_the_same_partials(frame: "DataFrame") -> None:
    from pyspark.sql import functions as F

    assert len(slot_rows(WIDE["exact"])) > 1
    assert len(slot_rows(WIDE["plain"])) == 1
    rows, states = [], []
    for name, metric in WIDE.items():
        for row in slot_rows(metric):
            inputs = [
                F.expr(f"CAST({row.inputs.get(slot.name, 'NULL')} AS {slot.spark_type})").alias(slot.name)
                for slot in SLOTS_SKETCH
            ]
            struct = F.struct(
                F.lit(name).alias("name"),
                F.lit(row.part).alias("part"),
                F.expr(dims_key_sql(metric.dims)).alias("dims_key"),
                *inputs,
            )
            rows.append(F.when(F.expr(metric.where), struct) if metric.where else struct)
    for slot in SLOTS_SKETCH:
        for aggregate, output in zip(slot.aggregates, slot.outputs, strict=True):
            states.append(F.expr(aggregate_sql(aggregate, slot.name)).alias(output))
    exploded = (
        frame.where("g <> 'extremes'")
        .select(F.explode(F.array(*rows)).alias("row"))
        .where("row IS NOT NULL")
        .select("row.*")
    )
    slotted = exploded.groupBy("name", "part", "dims_key").agg(*states).orderBy("dims_key").toArrow().to_pylist()
    for name, metric in WIDE.items():
        direct = (
            frame.where("g <> 'extremes'")
            .where(metric.where or "true")
            .groupBy(F.expr(dims_key_sql(metric.dims)).alias("dims_key"))
        )
        expected = (
            direct.agg(*(F.expr(c.aggregate_sql).alias(c.name) for c in metric_state(metric)))
            .orderBy("dims_key")
            .toArrow()
        )
        columns: dict[str, pa.Array] = {}
        for row in slot_rows(metric):
            mine = [r for r in slotted if (r["name"], r["part"]) == (name, row.part)]
            assert [r["dims_key"] for r in mine] == expected["dims_key"].to_pylist()
            for column, output in unslot(metric, row.part).items():
                columns[column] = pa.array([r[output] for r in mine], expected[column].type)
        codec = PartialCodec(metric)
        names = [c.name for c in metric_state(metric)]
        assert sorted(columns) == sorted(names)
        for one, other in zip(
            codec.encode_columns(columns), codec.encode_columns({c: expected[c] for c in names}), strict=True
        ):
            values = finalise(metric, codec.decode(one), 600), finalise(metric, codec.decode(other), 600)
            assert all(alike(values[0][output.name], values[1][output.name]) for output in metric.outputs), values
        assert {p.column.name for p in place(metric)} == set(names)


DIMS = compiled(
    "SELECT kind, site, active, seen, meta.firmware, LOWER(kind) AS low, steps > 3 AS big, COUNT(*) AS n FROM events "
    "GROUP BY kind, site, active, seen, meta.firmware, low, big"
)


def test_spark_builds_the_dims_keys_of_python(frame: "DataFrame") -> None:
    rows = frame.selectExpr(
        "id", f"{dims_key_sql(DIMS.dims)} AS k", f"octet_length({dims_key_sql(DIMS.dims)}) AS size"
    ).collect()
    found = {row["id"]: row["k"].encode() for row in rows}
    flag = {None: None, True: "true", False: "false"}
    for e in EVENTS:
        texts = [
            e["kind"], strict(str)(e["site"]), flag[e["active"]], strict(lambda t: str(to_micros(t)))(e["seen"]),
            e["meta"] and e["meta"]["firmware"], strict(str.lower)(e["kind"]), flag[e["steps"] > 3],
        ]  # fmt: skip
        assert found[e["id"]] == encode_dims(texts), e
    assert all(row["size"] == len(found[row["id"]]) for row in rows)


def test_sketches_of_spark_merge_in_python_within_their_error(spark: "SparkSession") -> None:
    metric = compiled(
        "SELECT APPROX_COUNT_DISTINCT(device) AS u, APPROX_PERCENTILE(volts, 0.05) AS low, "
        "APPROX_PERCENTILE(volts, 0.5) AS mid, APPROX_PERCENTILE(volts, 0.99) AS high FROM events"
    )
    size = 60_000
    source = spark.range(0, size, 1, 2).selectExpr(
        "id % 9 AS part", "CAST(id % 40000 AS STRING) AS device", f"CAST((id * 7919) % {size} AS DOUBLE) AS volts"
    )
    aggregates = [f"{column.aggregate_sql} AS {column.name}" for column in metric_state(metric)]
    from pyspark.sql import functions as F

    state = source.groupBy("part").agg(*(F.expr(a) for a in aggregates)).toArrow()
    codec = PartialCodec(metric)
    partials = [codec.decode(p) for p in codec.encode_columns({c.name: state[c.name] for c in metric_state(metric)})]
    values = finalise(metric, merge_partials(metric, partials), 600)
    assert values["u"] == pytest.approx(40_000, rel=0.02)
    for name, rank in (("low", 0.05), ("mid", 0.5), ("high", 0.99)):
        assert abs((values[name] + 1) / size - rank) < 0.01
