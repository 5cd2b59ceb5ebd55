"""The gate: runs a suite over a stage's rows and says what it found. The job decides what follows from it.

First every expectation is asked for yes or no, which is cheap; only those that failed are asked again for how many rows
break them. Great Expectations is imported at the first gate, or beforehand by `preload_in_background`.
"""

import importlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Any

from quality.suites import Expected, SuiteSpec

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_DERIVED = "gate_column_"


@dataclass(frozen=True, slots=True)
class GateResult:
    """What one gate found; `failed` names each broken expectation in one line. `seconds`: what its checks cost."""

    stage: str
    name: str
    passed: bool
    failed: tuple[str, ...]
    evidence: Mapping[str, Any]
    seconds: float = 0.0

    def row(self, checked_at: datetime) -> dict[str, Any]:
        """The gate as one row of `gold/_gates`; evidence as JSON."""
        return {
            "stage": self.stage,
            "name": self.name,
            "passed": self.passed,
            "failed": list(self.failed),
            "evidence": json.dumps(self.evidence, sort_keys=True, default=str),
            "checked_at": checked_at,
        }


def preload_in_background() -> Thread:
    """Import Great Expectations beside other work: it takes seconds, and the first gate would wait for it.

    Trap: it imports pyspark, whose modules import one another. A session built meanwhile would meet them half imported.
    """
    importlib.import_module("pyspark.sql")
    thread = Thread(target=_great_expectations, name="import-great-expectations", daemon=True)
    thread.start()
    return thread


def run_gate(rows: "DataFrame", suite: SuiteSpec, stage: str, name: str) -> GateResult:
    """Check the rows; persist them first where they are dear to compute, for every expectation reads them.

    `failed` lines read `silver.access: expect_column_values_to_be_between(access_count) failed: 3 of 1000 rows`.
    """
    started = time.monotonic()
    missing = _missing_columns(rows, suite)
    if missing:
        return _without_columns(suite, stage, name, missing)
    frame, sufficient, columns = _derive(rows, suite)
    batch = _batch(frame)
    asked = dict(enumerate(suite.expectations))
    broken = _ask(batch, asked, sufficient, "BOOLEAN_ONLY")
    details = _ask(batch, {at: asked[at] for at in broken}, columns, "SUMMARY") if broken else {}
    failed, evidence = [], []
    for at, result in details.items():
        line = f"{suite.name}: {asked[at].kind}({asked[at].label}) failed{_how_much(result)}"
        failed.append(line)
        evidence.append({"expectation": line, "arguments": asked[at].arguments, "result": result})
    facts = {"suite": suite.name, "expectations": len(asked), "broken": evidence}
    return GateResult(stage, name, not failed, tuple(failed), facts, time.monotonic() - started)


def _missing_columns(rows: "DataFrame", suite: SuiteSpec) -> list[str]:
    """Columns that the suite expects and the frame lacks; without them the other expectations cannot be asked."""
    have = set(rows.columns)
    wanted = [one for one in suite.expectations if one.kind == "expect_table_columns_to_match_set"]
    return [column for one in wanted for column in one.arguments["column_set"] if column not in have]


def _without_columns(suite: SuiteSpec, stage: str, name: str, missing: list[str]) -> GateResult:
    line = f"{suite.name}: expect_table_columns_to_match_set failed: no column {', '.join(missing)}"
    facts = {"suite": suite.name, "expectations": len(suite.expectations), "broken": [{"expectation": line}]}
    return GateResult(stage, name, False, (line,), facts)


def _derive(rows: "DataFrame", suite: SuiteSpec) -> tuple["DataFrame", dict[int, str], dict[int, str]]:
    """The frame with derived columns; by an expectation's place, the column to ask first and that of the last word."""
    from pyspark.sql import functions as F

    by_sql: dict[str, str] = {}

    def named(sql: str) -> str:
        return by_sql.setdefault(sql, f"{_DERIVED}{len(by_sql)}")

    expected = dict(enumerate(suite.expectations))
    columns = {at: one.label if one.sql is None else named(one.sql) for at, one in expected.items()}
    first = {at: columns[at] if one.sufficient is None else named(one.sufficient) for at, one in expected.items()}
    return rows.select("*", *(F.expr(sql).alias(name) for sql, name in by_sql.items())), first, columns


def _ask(batch: Any, asked: dict[int, Expected], columns: dict[int, str], detail: str) -> dict[int, Mapping[str, Any]]:
    """place → result of the expectations that failed."""
    gx = _great_expectations()
    suite = gx.ExpectationSuite(name="gate")
    for at, expected in asked.items():
        arguments = dict(expected.arguments)
        if "column_set" not in arguments:
            arguments["column"] = columns[at]
        build = getattr(gx.expectations, _class_name(expected.kind))
        suite.add_expectation(build(**arguments, meta={"at": at}))
    report = batch.validate(suite, result_format=detail)
    return {one.expectation_config.meta["at"]: _facts(one) for one in report.results if not one.success}


def _facts(one: Any) -> dict[str, Any]:
    """What is worth keeping: counts, observed value, a few bad values, or the error that stopped the expectation."""
    kept = ("element_count", "unexpected_count", "observed_value", "partial_unexpected_list")
    facts = {key: one.result[key] for key in kept if key in (one.result or {})}
    raised = (one.exception_info or {}).values()
    errors = [
        str(info["exception_message"])[:500]
        for info in raised
        if isinstance(info, dict) and info.get("raised_exception")
    ]
    return {**facts, **({"errors": errors} if errors else {})}


def _how_much(result: Mapping[str, Any]) -> str:
    if "unexpected_count" in result and "element_count" in result:
        return f": {result['unexpected_count']} of {result['element_count']} rows"
    if "observed_value" in result:
        return f": observed {result['observed_value']}"
    return f": {result['errors'][0].splitlines()[0]}" if result.get("errors") else ""


def _class_name(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.split("_"))


def _batch(frame: "DataFrame") -> Any:
    source = _context().data_sources.add_or_update_spark("rows", persist=False)
    asset = source.add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("rows").get_batch({"dataframe": frame})


@cache
def _context() -> Any:
    """One for the process: each makes a temporary folder."""
    context = _great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


def _great_expectations() -> Any:
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    return importlib.import_module("great_expectations")
