"""The gates of the batch: what contract and metric expect of rows (Great Expectations), and counts that must agree.

Counts are compared between independent witnesses: the Delta log of bronze against what Spark classified, and totals
taken straight from silver against what the groups of gold add up to.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quality.gate import GateResult, run_gate
from quality.suites import gold_suite, silver_suite
from runtime.storage_trouble import root_cause
from spark_jobs.ledgers import utc
from spark_jobs.plan import MetricPlan
from tidemark.contracts import ContractSet
from tidemark.metrics.model import Metric

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DOUBLE_TOLERANCE = 1e-9


def counts_gate(contract: str, counts: Mapping[str, int], logged: int | None) -> GateResult:
    """silver against bronze: every row that the log of bronze counts was classified, none twice."""
    classified = sum(counts.values())
    failed = []
    if logged is not None and logged != classified:
        line = f"bronze gained {logged} rows, {classified} were classified"
        failed.append(f"silver.{contract}: counts_equal_bronze failed: {line}")
    return _result("silver", contract, failed, {"bronze_rows": logged, "classified": dict(counts)}, classified)


def freshness_gate(contract: str, read: int, is_behind: bool) -> GateResult:
    """silver has all that bronze held when the batch looked."""
    failed = [f"silver.{contract}: is_fresh failed: bronze has rows that silver has not consumed"] if is_behind else []
    return _result("silver", contract, failed, {"behind": is_behind}, read)


def totals_gate(
    metric: Metric, gold: Mapping[str, Any], silver: Mapping[str, Any], windows: Sequence[str]
) -> GateResult:
    """gold against silver: per window length, the groups add up to the totals of the events."""
    failed = []
    for window in windows:
        for column, expected in silver.items():
            found = gold.get(f"{window}.{column}")
            if not _agree(found, expected):
                line = f"{window} {column} adds up to {found}, silver has {expected}"
                failed.append(f"gold.{metric.name}: totals_equal_silver failed: {line}")
    evidence = {"gold": dict(gold), "silver": dict(silver)}
    return _result("gold", metric.name, failed, evidence, int(silver.get("events") or 0))


def computed_gate(metric: Metric, error: Exception) -> GateResult:
    """A metric that compiled but failed when it ran: refused like any other that is not as it should be."""
    line = root_cause(error)
    return _result("gold", metric.name, [f"gold.{metric.name}: is_computed failed: {line}"], {"error": line}, 0)


def expect_silver(rows: "DataFrame", contracts: ContractSet) -> GateResult:
    """What the contract expects of new silver rows: columns, types, row rules, one row per id."""
    return run_gate(rows, silver_suite(contracts), "silver", contracts.name)


def expect_gold(rows: "DataFrame", plan: MetricPlan) -> GateResult:
    """What the metric expects of the gold rows that this batch wrote, as read back from the lake."""
    return run_gate(rows, gold_suite(plan.metric, plan.sealed_through), "gold", plan.metric.name)


def ledger_row(gate: GateResult, batch_id: str, now: float) -> dict[str, Any]:
    """The row of `gold/_gates`."""
    evidence = json.dumps(gate.evidence, default=str)
    rows = gate.evidence.get("rows")
    return {
        "batch_id": batch_id,
        "checked_at": utc(now),
        "stage": gate.stage,
        "name": gate.name,
        "passed": gate.passed,
        "failed": list(gate.failed),
        "rows": rows if isinstance(rows, int) else None,
        "evidence": evidence,
    }


def _result(stage: str, name: str, failed: Sequence[str], evidence: dict[str, Any], rows: int) -> GateResult:
    return GateResult(stage, name, not failed, tuple(failed), {**evidence, "rows": rows})


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=DOUBLE_TOLERANCE, abs_tol=1e-12)
    return bool((one or 0) == (other or 0))
