"""The gates pass what keeps its contract and name what does not."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quality.gate import preload_in_background, run_gate
from quality.suites import SuiteSpec, gold_suite, silver_suite
from tests.packs import PACKED_CONTRACTS
from tests.quality.contracts import everything
from tests.quality.corpus import WHOLE_1, WHOLE_2, record
from tests.quality.test_agreement import parse
from tidemark.metrics.registry import load_registry

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark
CONF = Path(__file__).resolve().parents[2] / "conf"
ACCESS = PACKED_CONTRACTS["access"]


@pytest.fixture(scope="module", autouse=True)
def _great_expectations() -> None:
    preload_in_background().join()


def accesses(spark: "SparkSession") -> "DataFrame":
    raws = [
        f'{{"event_id":"e{n}","timestamp":"2026-01-01T00:00:00Z","device_id":"d{n}","user_id":"u","access_count":{n}}}'
        for n in range(20)
    ]
    return parse(spark, ACCESS, [raw.encode() for raw in raws])


def test_valid_silver_passes(spark: "SparkSession") -> None:
    result = run_gate(accesses(spark), silver_suite(ACCESS), "silver", "access")
    assert (result.passed, result.failed, result.stage, result.name) == (True, (), "silver", "access")
    row = result.row(datetime(2026, 1, 1, tzinfo=UTC))
    assert json.loads(row["evidence"]) == {"broken": [], "expectations": 17, "suite": "silver.access"}


def test_each_broken_row_rule_of_silver_is_named(spark: "SparkSession") -> None:
    broken = accesses(spark).selectExpr(
        "* except (event_id, device_id, user_id, access_count)",
        "if(access_count < 2, 'e', event_id) as event_id",
        "if(access_count < 3, 'not a device', device_id) as device_id",
        "if(access_count = 3, 'in clear', user_id) as user_id",
        "if(access_count < 4, -1L, nullif(access_count, 19)) as access_count",
    )
    result = run_gate(broken, silver_suite(ACCESS), "silver", "access")
    assert not result.passed
    assert sorted(result.failed) == [
        "silver.access: expect_column_proportion_of_unique_values_to_be_between(event_id) failed: observed 0.95",
        "silver.access: expect_column_values_to_be_between(access_count) failed: 4 of 20 rows",
        "silver.access: expect_column_values_to_match_regex(device_id) failed: 3 of 20 rows",
        "silver.access: expect_column_values_to_match_regex(user_id) failed: 1 of 20 rows",
        "silver.access: expect_column_values_to_not_be_null(access_count) failed: 1 of 20 rows",
    ]


def test_ids_that_share_a_hash_are_told_apart(spark: "SparkSession") -> None:
    suite = silver_suite(ACCESS)
    colliding = tuple(replace(one, sufficient=one.sufficient and "0L") for one in suite.expectations)
    assert colliding != suite.expectations
    assert run_gate(accesses(spark), SuiteSpec(suite.name, colliding), "silver", "access").failed == ()


def test_only_a_pseudonym_is_certainly_one(spark: "SparkSession") -> None:
    one = "'" + "0123456789abcdef" * 4 + "'"
    wrong = [f"upper({one})", f"substr({one}, 2)", f"concat({one}, 'a')", f"concat(substr({one}, 2), char(10))"]
    wrong += [f"translate({one}, 'f', 'g')", f"translate({one}, '0', '٠')", f"concat(substr({one}, 3), 'é')"]
    (asked,) = (each for each in silver_suite(ACCESS).expectations if each.kind.endswith("regex") and each.sufficient)
    texts = spark.range(1).selectExpr(f"explode(array({one}, {', '.join(wrong)})) AS {asked.label}")
    doubtful = [row.doubtful for row in texts.selectExpr(f"{asked.sufficient} AS doubtful").collect()]
    assert doubtful == [None, *(row[0] for row in texts.collect()[1:])]


def test_a_wrong_type_and_a_lost_column_of_silver_are_named(spark: "SparkSession") -> None:
    from pyspark.sql import functions as F

    rows = accesses(spark)
    retyped = rows.withColumn("access_count", rows["access_count"].cast("double"))
    assert run_gate(retyped, silver_suite(ACCESS), "silver", "access").failed == (
        "silver.access: expect_column_values_to_be_of_type(access_count) failed: observed DoubleType",
    )
    nested = rows.withColumn("user_id", F.array("user_id"))
    assert "silver.access: expect_column_values_to_be_of_type(user_id) failed: observed ArrayType" in (
        run_gate(nested, silver_suite(ACCESS), "silver", "access").failed
    )
    lost = run_gate(rows.drop("tenant_id"), silver_suite(ACCESS), "silver", "access")
    assert lost.failed == ("silver.access: expect_table_columns_to_match_set failed: no column tenant_id",)


def test_versions_side_by_side_keep_their_own_rules(spark: "SparkSession", tmp_path: Path) -> None:
    contracts = everything(tmp_path)
    other = {**WHOLE_2, "id": '"e2"'}
    rows = parse(spark, contracts, [record(WHOLE_1).encode(), record(other).encode()])
    assert run_gate(rows, silver_suite(contracts), "silver", "everything").failed == ()
    swapped = rows.selectExpr("* except (contract_version)", "3 - contract_version as contract_version")
    failed = run_gate(swapped, silver_suite(contracts), "silver", "everything").failed
    assert "silver.everything: expect_column_values_to_be_between(x) failed: 1 of 2 rows" not in failed


def test_nested_rules_hold_inside_structs(spark: "SparkSession") -> None:
    telemetry = PACKED_CONTRACTS["telemetry"]
    raw = (
        '{"event_id":"e1","device_id":"d","timestamp":"2026-01-01T00:00:00Z","metrics":{"power_w":5,"voltage_v":230.5}}'
    )
    rows = parse(spark, telemetry, [raw.encode()])
    assert run_gate(rows, silver_suite(telemetry), "silver", "telemetry").failed == ()
    broken = rows.selectExpr(
        "* except (metrics)", "struct(-1D as power_w, cast(null as double) as voltage_v) as metrics"
    )
    assert sorted(run_gate(broken, silver_suite(telemetry), "silver", "telemetry").failed) == [
        "silver.telemetry: expect_column_values_to_be_between(metrics.power_w) failed: 1 of 1 rows",
        "silver.telemetry: expect_column_values_to_not_be_null(metrics.voltage_v) failed: 1 of 1 rows",
    ]


GOLD = """
    SELECT 'device_access' AS metric, 1L AS version, '10m' AS window, timestamp'2026-01-01T00:10:00Z' AS window_start,
           timestamp'2026-01-01T00:20:00Z' AS window_end, 'd' AS device_id, '1:d' AS dims_key, 2.5D AS avg_access,
           4L AS total_users, X'00' AS partial, date'2026-01-01' AS window_date
"""


def test_gold_passes_and_each_fault_of_it_is_named(spark: "SparkSession") -> None:
    metric = load_registry([CONF]).metrics["device_access"]
    seal = int(datetime(2026, 1, 1, 0, 30, tzinfo=UTC).timestamp())
    suite = gold_suite(metric, seal)
    assert run_gate(spark.sql(GOLD), suite, "gold", "device_access").failed == ()
    broken = spark.sql(GOLD).selectExpr(
        "* except (window_start, window_end, total_users, dims_key)",
        "timestamp'2026-01-01T01:15:00Z' as window_start",
        "timestamp'2026-01-01T01:15:00Z' as window_end",
        "-1L as total_users",
        "cast(null as string) as dims_key",
    )
    assert sorted(run_gate(broken, suite, "gold", "device_access").failed) == [
        "gold.device_access: expect_column_values_to_be_between(total_users) failed: 1 of 1 rows",
        "gold.device_access: expect_column_values_to_be_between(window_length_s) failed: 1 of 1 rows",
        "gold.device_access: expect_column_values_to_be_in_set(window_is_aligned) failed: 1 of 1 rows",
        "gold.device_access: expect_column_values_to_be_in_set(window_is_sealed) failed: 1 of 1 rows",
        "gold.device_access: expect_column_values_to_not_be_null(dims_key) failed: 1 of 1 rows",
    ]


def test_pyspark_is_imported_before_great_expectations_is_imported_beside() -> None:
    """Both at once, by two threads, ended a batch with a circular import."""
    code = (
        "import sys, quality.gate as gate\n"
        "gate._great_expectations = lambda: None\n"
        "gate.preload_in_background().join()\n"
        "sys.exit('pyspark.sql.dataframe' not in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
