"""Great Expectations suites as plain data: of a contract for silver, of a metric for gold. `gate.py` runs them.

Nothing here imports Great Expectations, which takes seconds. An expectation names a label for people and a column of
the checked frame; where a rule does not fit a plain column, the suite derives one by Spark SQL.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tidemark.contracts import PSEUDONYMISE, Contract, ContractSet, Field
from tidemark.metrics.final import CountOf, DistinctOf
from tidemark.metrics.model import Metric
from tidemark.patterns import java_pattern
from tidemark.windows import window_name

_CLASSES = {
    "string": "StringType",
    "long": "LongType",
    "bigint": "LongType",
    "double": "DoubleType",
    "boolean": "BooleanType",
    "timestamp": "TimestampType",
    "decimal": "DecimalType",
    "map<string,string>": "MapType",
    "struct": "StructType",
    "binary": "BinaryType",
}
_PSEUDONYM = r"\A[0-9a-f]{64}\z"
_ABSENT = "'absent'"


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation: `kind` as in `expect_column_values_to_be_between`; `sql` derives its column, None = `label`.

    `sufficient` derives one that is cheaper to ask: if that keeps the expectation so does the column itself, which is
    asked only when it does not.
    """

    kind: str
    label: str
    arguments: dict[str, Any] = field(default_factory=dict)
    sql: str | None = None
    sufficient: str | None = None


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """Expectations over the rows of one frame."""

    name: str
    expectations: tuple[Expected, ...]


def silver_suite(contracts: ContractSet) -> SuiteSpec:
    """What silver rows of a contract keep: columns, types, and the row rules of the version they were checked by."""
    single = len(contracts.versions) == 1
    found = [_columns([column.name for column in contracts.columns])]
    found += [_type(column.name, column.type.kind) for column in contracts.columns]
    for contract in contracts.versions:
        for column in contract.fields:
            masked = contracts.columns[[c.name for c in contracts.columns].index(column.name)].pii == PSEUDONYMISE
            found += _field_rules(column, None if single else contract, masked)
    distinct = {"min_value": 1.0, "max_value": 1.0}
    dedupe = contracts.newest.dedupe
    # Hashes that all differ are of ids that all differ, and are sent and compared in a third of the bytes.
    unique = "expect_column_proportion_of_unique_values_to_be_between"
    found.append(Expected(unique, dedupe, distinct, sufficient=f"xxhash64(`{dedupe}`)"))
    return SuiteSpec(f"silver.{contracts.name}", tuple(found))


def gold_suite(metric: Metric, sealed_through: int | None = None) -> SuiteSpec:
    """What gold rows keep: keys, whole windows below the seal (epoch seconds), types, counts not negative."""
    keys = ("metric", "version", "window", "window_start", "window_end", "dims_key", "partial")
    outputs = [output.name for output in metric.outputs]
    found = [_columns([*keys, *(dim.name for dim in metric.dims), *outputs])]
    found += [_type(output.name, output.type.split("(")[0]) for output in metric.outputs]
    found += [Expected("expect_column_values_to_not_be_null", key) for key in keys]
    found.append(_one_of("metric", [metric.name]))
    found.append(_one_of("window", [window_name(seconds) for seconds in metric.windows]))
    found.append(_between("window_length_s", 1, None, "unix_timestamp(window_end) - unix_timestamp(window_start)"))
    found.append(_one_of("window_is_aligned", ["true"], _aligned(metric)))
    if sealed_through is not None:
        seal = datetime.fromtimestamp(sealed_through, UTC).isoformat()
        found.append(_one_of("window_is_sealed", ["true"], f"cast(window_end <= timestamp '{seal}' as string)"))
    found += [_between(o.name, 0, None) for o in metric.outputs if isinstance(o.final, CountOf | DistinctOf)]
    return SuiteSpec(f"gold.{metric.name}", tuple(found))


def _aligned(metric: Metric) -> str:
    lengths = " ".join(f"WHEN '{window_name(seconds)}' THEN {seconds}" for seconds in metric.windows)
    length = f"CASE window {lengths} END"
    start, end = "unix_timestamp(window_start)", "unix_timestamp(window_end)"
    return f"cast({end} - {start} = {length} AND {start} % {length} = 0 as string)"


def _field_rules(column: Field, version: Contract | None, masked: bool, parent: str = "") -> Iterator[Expected]:
    """Rules of one field; those of one version among several, and those inside a struct, where they apply."""
    label, source = (f"{parent}.{column.name}", f"`{parent}`.`{column.name}`") if parent else (column.name, None)
    applies = [f"contract_version = {version.version}"] if version else []
    applies += [f"`{parent}` IS NOT NULL"] if parent else []
    value = source or f"`{column.name}`"
    where = " AND ".join(applies)
    if column.required:
        present = f"CASE WHEN {where} THEN cast({value} as string) ELSE {_ABSENT} END" if where else None
        if where and column.type.kind in ("struct", "map<string,string>"):
            present = f"CASE WHEN {where} THEN if({value} IS NULL, NULL, 'present') ELSE {_ABSENT} END"
        yield Expected("expect_column_values_to_not_be_null", label, sql=present)
    sql = f"CASE WHEN {where} THEN {value} END" if where else source
    if masked:
        yield _pseudonym(label, sql)
    else:
        yield from _row_rules(column, label, sql)
    for child in column.fields:
        yield from _field_rules(child, version, False, column.name)


def _pseudonym(label: str, sql: str | None) -> Expected:
    """What is one beyond doubt need not be matched with the pattern, which would take longer than all other rules."""
    value = sql or f"`{label}`"
    text = f"CAST({value} AS STRING)"
    certain = f"octet_length({text}) = 64 AND unhex({text}) IS NOT NULL AND lower({text}) = {text}"
    doubtful = f"CASE WHEN {certain} THEN NULL ELSE {value} END"
    return Expected("expect_column_values_to_match_regex", label, {"regex": _PSEUDONYM}, sql, doubtful)


def _row_rules(column: Field, label: str, sql: str | None) -> Iterator[Expected]:
    rules = column.rules
    if rules.length is not None:
        low, high = rules.length
        bounds = {"min_value": low, "max_value": high}
        yield Expected("expect_column_value_lengths_to_be_between", label, bounds, sql)
    if rules.matches is not None:
        yield Expected("expect_column_values_to_match_regex", label, {"regex": java_pattern(rules.matches)}, sql)
    if rules.between is not None:
        least, most = (float(bound) if isinstance(bound, Decimal) else bound for bound in rules.between)
        yield _between(label, least, most, sql)
    if rules.one_of is not None:
        yield _one_of(label, list(rules.one_of), sql)


def _columns(names: Sequence[str]) -> Expected:
    arguments = {"column_set": list(names), "exact_match": False}
    return Expected("expect_table_columns_to_match_set", ", ".join(names), arguments)


def _type(name: str, kind: str) -> Expected:
    return Expected("expect_column_values_to_be_of_type", name, {"type_": _CLASSES[kind]})


def _between(label: str, low: float | None, high: float | None, sql: str | None = None) -> Expected:
    return Expected("expect_column_values_to_be_between", label, {"min_value": low, "max_value": high}, sql)


def _one_of(label: str, values: Sequence[object], sql: str | None = None) -> Expected:
    return Expected("expect_column_values_to_be_in_set", label, {"value_set": list(values)}, sql)
