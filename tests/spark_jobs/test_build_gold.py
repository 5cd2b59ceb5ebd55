"""Groups of gold: names that the job uses itself, and windows folded from the shortest."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from spark_jobs import window_groups
from spark_jobs.build_gold import pack_rows, shape_rows
from spark_jobs.implied_state import split_state
from spark_jobs.window_groups import group_events
from tests.packs import SHIPPED
from tidemark.contracts import ContractSet
from tidemark.fields import Rules
from tidemark.metrics.compiler import compile_metric
from tidemark.metrics.model import Metric
from tidemark.metrics.state import metric_state

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark
EVENTS = [
    ("2026-01-01T00:01:00+00:00", "dev-1", 2, "a"),
    ("2026-01-01T00:11:00+00:00", "dev-1", 4, "a"),
    ("2026-01-01T00:31:00+00:00", "dev-1", 9, None),
]


def metric_of(sql: str, windows: list[str]) -> Metric:
    document = {
        "name": "own",
        "description": "of this test",
        "sql": sql,
        "windows": windows,
        "schedule": "0 2 * * *",
        "retention": {"hot": "24h", "warm": "30d", "cold": "2y"},
        "category": "engagement",
    }
    return compile_metric(document, SHIPPED.contracts)


def rows(spark: "SparkSession", sql: str, windows: list[str]) -> list[dict[str, Any]]:
    metric = metric_of(sql, windows)
    given = [(datetime.fromisoformat(at), device, count, tenant) for at, device, count, tenant in EVENTS]
    frame = spark.createDataFrame(given, "timestamp TIMESTAMP, device_id STRING, access_count BIGINT, tenant_id STRING")
    shaped = shape_rows(group_events(frame, metric, SHIPPED.contracts["access"]), metric, 1)
    return [row.asDict() for row in pack_rows(shaped, metric).collect()]


def test_a_dimension_may_have_any_name_that_is_not_reserved(spark: "SparkSession") -> None:
    """`events`, `start_s` and the like were columns of the job itself and made the name ambiguous."""
    sql = (
        "SELECT UPPER(device_id) AS events, LOWER(device_id) AS start_s, LOWER(tenant_id) AS in_c0_n, COUNT(*) AS n "
        "FROM access GROUP BY events, start_s, in_c0_n"
    )
    found = rows(spark, sql, ["30m"])
    assert {(row["events"], row["start_s"], row["in_c0_n"], row["n"]) for row in found} == {
        ("DEV-1", "dev-1", "a", 2),
        ("DEV-1", "dev-1", None, 1),
    }


def test_longer_windows_are_the_events_of_all_their_shorter_ones(spark: "SparkSession") -> None:
    sql = (
        "SELECT device_id, COUNT(*) AS n, COUNT(tenant_id) AS users, SUM(access_count) AS total, "
        "AVG(access_count) AS mean, MIN(access_count) AS least, MAX(access_count) AS most "
        "FROM access GROUP BY device_id"
    )
    found = {
        (row["window"], row["window_start"].replace(tzinfo=UTC).minute): [
            row[name] for name in ("n", "users", "total", "mean", "least", "most")
        ]
        for row in rows(spark, sql, ["10m", "1h", "30m"])
    }
    assert found == {
        ("10m", 0): [1, 1, 2, 2.0, 2, 2],
        ("10m", 10): [1, 1, 4, 4.0, 4, 4],
        ("10m", 30): [1, 0, 9, 9.0, 9, 9],
        ("30m", 0): [2, 2, 6, 3.0, 2, 4],
        ("30m", 30): [1, 0, 9, 9.0, 9, 9],
        ("1h", 0): [3, 2, 15, 5.0, 2, 9],
    }


ALL_FOLDS = (
    "SELECT device_id, tenant_id, COUNT(*) AS n, COUNT(user_id) AS users, SUM(access_count) AS total, "
    "MIN(access_count) AS least, MAX(access_count) AS most, MIN(timestamp) AS first, "
    "SUM(access_count * 0.5) AS halves FROM access WHERE device_id IS NULL OR device_id <> 'dev-2' "
    "GROUP BY device_id, tenant_id"
)


def many_events(spark: "SparkSession", count: str) -> "DataFrame":
    return spark.range(400).selectExpr(
        "timestamp_seconds(-3600 + (id * 7919) % 10800) AS timestamp",
        "CASE id % 7 WHEN 0 THEN NULL ELSE concat('dev-', id % 3) END AS device_id",
        "CASE id % 2 WHEN 0 THEN 'a' END AS tenant_id",
        "CASE id % 5 WHEN 0 THEN 'u' END AS user_id",
        f"CASE WHEN id % 3 > 0 THEN {count} END AS access_count",
    )


def without_bounds(contracts: ContractSet) -> ContractSet:
    versions = [
        replace(version, fields=tuple(replace(field, rules=Rules()) for field in version.fields))
        for version in contracts.versions
    ]
    return replace(contracts, versions=tuple(versions))


@pytest.mark.parametrize("windows", [["10m", "30m"], ["30m", "10m", "5m"], ["1m", "10m"], ["10m", "1h", "30m"]])
def test_however_longer_windows_are_made_they_are_the_same(
    spark: "SparkSession", windows: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As slices of a granule, folded from groups, and accumulated from the events: also where all is NULL."""
    metric, contracts = metric_of(ALL_FOLDS, windows), without_bounds(SHIPPED.contracts["access"])
    events = many_events(spark, "id * 4000000000 - 9")
    found = {}
    for way, most, folds in (("slices", 10_000, None), ("folded", 0, None), ("accumulated", 0, {})):
        monkeypatch.setattr(window_groups, "MOST_SLICED", most)
        if folds is not None:
            monkeypatch.setattr(window_groups, "FOLDS", folds)
        groups = group_events(events, metric, contracts)
        columns = sorted(groups.columns)
        found[way] = sorted(map(repr, groups.select(*(f"`{name}`" for name in columns)).collect()))
    assert len(found["slices"]) > 50
    assert found["slices"] == found["folded"] == found["accumulated"]


@pytest.mark.parametrize("windows", [["10m", "30m"], ["1m", "1h"], ["10m"]])
def test_what_follows_from_other_columns_is_as_if_accumulated(spark: "SparkSession", windows: list[str]) -> None:
    metric, bounded = metric_of(ALL_FOLDS, windows), SHIPPED.contracts["access"]
    events = many_events(spark, "id * 2500")
    assert set(split_state(metric, bounded, "n")[1]) == {"c0_n", "c1_hi"}
    found = []
    for contracts, fewer in ((bounded, 2), (without_bounds(bounded), 1)):
        state, implied = split_state(metric, contracts, "n")
        assert (len(implied), len(state) + len(implied)) == (fewer, len(metric_state(metric)))
        packed = pack_rows(shape_rows(group_events(events, metric, contracts), metric, 1), metric)
        found.append(sorted(packed.collect(), key=repr))
    assert len(found[0]) > 20
    assert found[0] == found[1]


def test_a_sum_is_halved_where_one_version_leaves_it_unbounded() -> None:
    """Or where its bounds are not within the lower half."""
    metric, contracts = metric_of(ALL_FOLDS, ["10m"]), SHIPPED.contracts["access"]
    newest = contracts.newest
    for rules in (Rules(), Rules(between=(0, None)), Rules(between=(-1, 5)), Rules(between=(0, 1 << 32))):
        loose = replace(newest, version=1, fields=tuple(replace(f, rules=rules) for f in newest.fields))
        assert set(split_state(metric, replace(contracts, versions=(loose, newest)), "n")[1]) == {"c0_n"}
