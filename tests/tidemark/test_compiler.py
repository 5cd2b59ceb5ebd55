"""Metric SQL: what is accepted and what it becomes, what is refused and with which words, what makes a new family."""

from pathlib import Path
from typing import Any

import pytest

from tests.tidemark.definitions import CONTRACTS, FIELDS, compiled, contract_set, measure
from tidemark.errors import DefinitionError
from tidemark.metrics.compiler import compile_metric
from tidemark.metrics.model import Kind
from tidemark.metrics.registry import load_registry

CONF = Path(__file__).parents[2] / "conf"

ACCEPTED = [
    ("COUNT(*)", [Kind.COUNT], "long"),
    ("COUNT(kind)", [Kind.COUNT], "long"),
    ("COUNT(props)", [Kind.COUNT], "long"),
    ("COUNT_IF(amount > 3)", [Kind.COUNT], "long"),
    ("SUM(amount)", [Kind.SUM_INT], "long"),
    ("SUM(watts)", [Kind.SUM_DOUBLE], "double"),
    ("SUM(price)", [Kind.SUM_INT], "double"),
    ("SUM(whole)", [Kind.SUM_INT], "long"),
    ("SUM(NULL)", [Kind.SUM_INT], "long"),
    ("MIN(amount)", [Kind.MIN_INT], "long"),
    ("MAX(watts)", [Kind.MAX_DOUBLE], "double"),
    ("MIN(watts + 1)", [Kind.MIN_DOUBLE], "double"),
    ("MAX(price)", [Kind.MAX_INT], "double"),
    ("MIN(whole)", [Kind.MIN_INT], "long"),
    ("MAX(at)", [Kind.MAX_INT], "timestamp"),
    ("AVG(amount)", [Kind.SUM_INT, Kind.COUNT], "double"),
    ("AVG(watts)", [Kind.SUM_DOUBLE, Kind.COUNT], "double"),
    ("STDDEV(watts)", [Kind.MOMENTS], "double"),
    ("STDDEV_POP(amount)", [Kind.MOMENTS], "double"),
    ("STDDEV_SAMP(amount)", [Kind.MOMENTS], "double"),
    ("VARIANCE(price)", [Kind.MOMENTS], "double"),
    ("VAR_POP(watts)", [Kind.MOMENTS], "double"),
    ("VAR_SAMP(watts)", [Kind.MOMENTS], "double"),
    ("APPROX_COUNT_DISTINCT(device)", [Kind.HLL], "long"),
    ("APPROX_COUNT_DISTINCT(amount)", [Kind.HLL], "long"),
    ("APPROX_PERCENTILE(amount, 0.5)", [Kind.KLL], "long"),
    ("PERCENTILE_APPROX(watts, 0.95)", [Kind.KLL], "double"),
    ("SUM(amount) FILTER (WHERE kind = 'a')", [Kind.SUM_INT], "long"),
    ("COUNT(*) FILTER (WHERE active)", [Kind.COUNT], "long"),
    ("AVG(meta.load)", [Kind.SUM_DOUBLE, Kind.COUNT], "double"),
    ("SUM(CAST(props['x'] AS DOUBLE))", [Kind.SUM_DOUBLE], "double"),
    ("SUM(CASE WHEN kind = 'a' THEN amount ELSE 0 END)", [Kind.SUM_INT], "long"),
    ("SUM(CASE kind WHEN 'a' THEN 1 WHEN 'b' THEN 2.5 END)", [Kind.SUM_DOUBLE], "double"),
    ("SUM(IF(active, 1, NULL))", [Kind.SUM_INT], "long"),
    ("SUM(COALESCE(amount, site, 0))", [Kind.SUM_INT], "long"),
    ("SUM(GREATEST(amount, 1) - LEAST(site, steps))", [Kind.SUM_INT], "long"),
    ("SUM(NULLIF(amount, 0) * -2 % 7)", [Kind.SUM_INT], "long"),
    ("SUM(ABS(amount) / ABS(-watts))", [Kind.SUM_DOUBLE], "double"),
    ("COUNT_IF(LOWER(TRIM(kind)) LIKE 'a%' AND NOT UPPER(device) IN ('X', 'Y'))", [Kind.COUNT], "long"),
    ("COUNT_IF(amount BETWEEN 1 AND 5 OR amount IS NULL OR kind IS NOT NULL)", [Kind.COUNT], "long"),
    ("COUNT_IF(amount <=> site OR TRUE)", [Kind.COUNT], "long"),
    ("AVG(watts) * WINDOW_HOURS()", [Kind.SUM_DOUBLE, Kind.COUNT], "double"),
    ("SUM(amount) / COUNT(*)", [Kind.SUM_INT, Kind.COUNT], "double"),
    ("COUNT(*) + 2 * COUNT(kind) - COUNT(*) % 3", [Kind.COUNT, Kind.COUNT], "long"),
    ("-COUNT(*)", [Kind.COUNT], "long"),
    ("-AVG(watts) + 1", [Kind.SUM_DOUBLE, Kind.COUNT], "double"),
    ("ROUND(AVG(amount), 2)", [Kind.SUM_INT, Kind.COUNT], "double"),
    ("ROUND(COUNT(*))", [Kind.COUNT], "long"),
    ("ABS(MIN(amount))", [Kind.MIN_INT], "long"),
    ("SQRT(SUM(watts))", [Kind.SUM_DOUBLE], "double"),
    (
        "CASE WHEN COUNT(*) > 3 AND NOT (COUNT(kind) = 0 OR COUNT(*) <> 5) THEN 'many' ELSE 'few' END",
        [Kind.COUNT, Kind.COUNT],
        "string",
    ),
    ("CASE COUNT(*) WHEN 1 THEN TRUE END", [Kind.COUNT], "boolean"),
    ("IF(SUM(amount) IS NULL, 0, 1.5)", [Kind.SUM_INT], "double"),
    ("COALESCE(SUM(amount), 0)", [Kind.SUM_INT], "long"),
    ("NULLIF(COUNT(*), 0)", [Kind.COUNT], "long"),
    ("GREATEST(COUNT(*), 1.5)", [Kind.COUNT], "double"),
    ("LEAST(MIN(at), MAX(seen))", [Kind.MIN_INT, Kind.MAX_INT], "timestamp"),
    ("CAST(AVG(watts) AS BIGINT)", [Kind.SUM_DOUBLE, Kind.COUNT], "long"),
    ("CAST(COUNT(*) AS DOUBLE)", [Kind.COUNT], "double"),
    ("COUNT(*) >= 3", [Kind.COUNT], "boolean"),
]


@pytest.mark.parametrize(("expression", "kinds", "type_"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_an_accepted_expression_decomposes_into_its_components(expression: str, kinds: list[Kind], type_: str) -> None:
    metric = measure(expression)
    assert [component.kind for component in metric.components] == kinds
    assert [(output.name, output.type) for output in metric.outputs] == [("v", type_)]
    assert metric.lane == ("sketch" if {Kind.HLL, Kind.KLL} & set(kinds) else "exact")


ON_1 = "at line 1, column"
REFUSED = [
    # What must not pass, from the findings.
    ("SELECT TRANSFORM(kind) USING 'cat' FROM events", f"TRANSFORM is not accepted in a metric {ON_1} 30"),
    ("SELECT java_method('java.lang.System', 'exit') AS n FROM events",
     f"function JAVA_METHOD is not accepted in a metric {ON_1} 8"),
    ("SELECT COUNT(reflect('a', 'b')) AS n FROM events", f"function REFLECT is not accepted in a metric {ON_1} 14"),
    ("SELECT COUNT(*) AS n FROM parquet.`/etc/x`",
     f"FROM must name a contract, not 'parquet.`/etc/x`'; known: events {ON_1} 35"),
    ("FROM events INSERT INTO u SELECT COUNT(*) AS n", "one SELECT statement, not MULTITABLEINSERTS"),
    ("FROM events INSERT INTO u", "one SELECT statement, not MULTITABLEINSERTS"),
    ("SELECT COUNT(*) AS n FROM events INSERT INTO u", f"SQL cannot be parsed {ON_1} 39"),
    ("SELECT explode(sequence(1, 1000000000)) AS n FROM events",
     f"function EXPLODE is not accepted in a metric {ON_1} 8"),
    ("SELECT COUNT(explode(sequence(1, 1e9))) AS n FROM events",
     f"function EXPLODE is not accepted in a metric {ON_1} 14"),
    # Statements and clauses.
    ("", "one SELECT statement, not an empty text"),
    ("DROP TABLE events", "one SELECT statement, not DROP"),
    ("SELECT COUNT(*) AS n FROM events; DROP TABLE x", "one SELECT statement, not SELECT and DROP"),
    ("SELECT COUNT(*) AS n FROM events UNION ALL SELECT 1", "one SELECT statement, not UNION"),
    ("SELECT COUNT(*) AS n FROM events WHERE (", f"SQL cannot be parsed {ON_1}"),
    ("SELECT COUNT(*) AS n FROM events WHERE kind = 'x", "SQL cannot be parsed"),
    ("WITH a AS (SELECT 1) SELECT COUNT(*) AS n FROM events", f"WITH is not accepted in a metric {ON_1}"),
    ("SELECT /*+ BROADCAST(events) */ COUNT(*) AS n FROM events", f"HINT is not accepted in a metric {ON_1} 12"),
    ("SELECT DISTINCT COUNT(*) AS n FROM events", "DISTINCT is not accepted in a metric"),
    ("SELECT AS STRUCT COUNT(*) AS n FROM events", "KIND is not accepted in a metric"),
    ("SELECT COUNT(*) AS n FROM events LIMIT 1", f"LIMIT is not accepted in a metric {ON_1}"),
    ("SELECT COUNT(*) AS n FROM events ORDER BY n", f"ORDER is not accepted in a metric {ON_1}"),
    ("SELECT COUNT(*) AS n FROM events HAVING n > 1", f"HAVING is not accepted in a metric {ON_1}"),
    ("SELECT COUNT(*) AS n FROM events QUALIFY 1 = 1", f"QUALIFY is not accepted in a metric {ON_1}"),
    ("SELECT COUNT(*) AS n FROM events CLUSTER BY kind", f"CLUSTER is not accepted in a metric {ON_1}"),
    ("SELECT COUNT(*) AS n FROM events WINDOW w AS ()", f"WINDOW is not accepted in a metric {ON_1}"),
    ("SELECT COUNT(*) AS n INTO t FROM events", f"INTO is not accepted in a metric {ON_1}"),
    # The source.
    ("SELECT COUNT(*) AS n", "reads FROM one contract"),
    ("SELECT COUNT(*) AS n FROM (SELECT * FROM events)", "reads FROM one contract"),
    ("SELECT COUNT(*) AS n FROM range(10)", "reads FROM one contract"),
    ("SELECT COUNT(*) AS n FROM IDENTIFIER('events')", "reads FROM one contract"),
    ("SELECT COUNT(*) AS n FROM other", f"FROM must name a contract, not 'other'; known: events {ON_1} 27"),
    ("SELECT COUNT(*) AS n FROM EVENTS", "FROM must name a contract, not 'EVENTS'"),
    ("SELECT COUNT(*) AS n FROM spark_catalog.default.events", "FROM must name a contract"),
    ("SELECT COUNT(*) AS n FROM events@v1",
     f"FROM must name a contract, not 'events AS ${{v1}}'; known: events {ON_1} 27"),
    ("SELECT COUNT(*) AS n FROM events VERSION AS OF 1", "FROM must name a contract, not 'events VERSION AS OF 1'"),
    ("SELECT COUNT(*) AS n FROM events TIMESTAMP AS OF '2026-01-01'", "FROM must name a contract"),
    ("SELECT COUNT(*) AS n FROM events TABLESAMPLE (10 PERCENT)", "FROM must name a contract"),
    ("SELECT COUNT(*) AS n FROM events AS e (x, y)", "FROM must name a contract"),
    ("SELECT COUNT(*) AS n FROM events PIVOT (SUM(amount) FOR kind IN ('a'))", "FROM must name a contract"),
    ("SELECT COUNT(*) AS n FROM events, events", f"JOIN is not accepted in a metric {ON_1}"),
    ("SELECT COUNT(*) AS n FROM events JOIN other ON TRUE", f"JOIN is not accepted in a metric {ON_1}"),
    ("SELECT COUNT(*) AS n FROM events LATERAL VIEW explode(array(1)) t AS x",
     f"LATERAL is not accepted in a metric {ON_1}"),
    # Names and grouping.
    ("SELECT COUNT(*) FROM events", f"COUNT(*) needs a name: add AS … {ON_1} 8"),
    ("SELECT * FROM events", f"SELECT * is not accepted: name the measures {ON_1} 8"),
    ("SELECT kind, COUNT(*) AS n FROM events", f"column 'kind' must be in GROUP BY or in an aggregate {ON_1} 8"),
    ("SELECT kind AS k, COUNT(*) AS n FROM events", "column kind must be inside an aggregate or in GROUP BY"),
    ("SELECT COUNT(*) + amount AS n FROM events",
     f"column amount must be inside an aggregate or in GROUP BY {ON_1} 19"),
    ("SELECT kind, COUNT(*) AS n FROM events GROUP BY 1", f"GROUP BY takes column names, not positions {ON_1} 49"),
    ("SELECT kind, COUNT(*) AS n FROM events GROUP BY ALL", "GROUP BY ALL is not accepted"),
    ("SELECT kind, COUNT(*) AS n FROM events GROUP BY ROLLUP (kind)", f"ROLLUP is not accepted in a metric {ON_1}"),
    ("SELECT kind, COUNT(*) AS n FROM events GROUP BY kind WITH CUBE", "GROUP BY CUBE is not accepted"),
    ("SELECT COUNT(*) AS n FROM events GROUP BY GROUPING SETS ((kind))", "is not accepted in a metric"),
    ("SELECT COUNT(*) AS n FROM events GROUP BY LOWER(kind)",
     f"an expression in GROUP BY needs a name: alias it in SELECT {ON_1}"),
    ("SELECT COUNT(*) AS n FROM events GROUP BY watts",
     f"cannot group by a double; only by string, long, boolean, timestamp {ON_1} 43"),
    ("SELECT COUNT(*) AS n FROM events GROUP BY props", "cannot group by a map<string,string>"),
    ("SELECT LOWER(kind) AS kind, COUNT(*) AS n FROM events GROUP BY kind",
     "function LOWER is not accepted in a metric"),
    ("SELECT device AS kind, COUNT(*) AS n FROM events GROUP BY kind",
     "column device must be inside an aggregate or in GROUP BY"),
    ("SELECT kind, COUNT(*) AS KIND FROM events GROUP BY kind", "the name 'kind' is used twice"),
    ("SELECT COUNT(*) AS n, SUM(amount) AS N FROM events", "the name 'n' is used twice"),
    ("SELECT COUNT(*) AS window_start FROM events", "the name 'window_start' is reserved"),
    ("SELECT COUNT(*) AS Partial FROM events", "the name 'Partial' is reserved"),
    ("SELECT COUNT(*) AS c0_n FROM events", "the name 'c0_n' is reserved"),
    ("SELECT COUNT(*) AS state_c0_n FROM events", "the name 'state_c0_n' is reserved"),
    ("SELECT COUNT(*) AS `a``b` FROM events", "'a`b' is not a name"),
    ("SELECT COUNT(*) AS `a b` FROM events", "'a b' is not a name"),
    ("SELECT 1 AS one FROM events", "SELECT has no aggregate"),
    ("SELECT NULL AS x, COUNT(*) AS n FROM events", "'x' is always NULL"),
    # Aggregates.
    ("SELECT COUNT(DISTINCT kind) AS n FROM events",
     f"COUNT(DISTINCT …) cannot be merged across windows and layers; use APPROX_COUNT_DISTINCT {ON_1} 8"),
    ("SELECT SUM(DISTINCT amount) AS n FROM events", "SUM(DISTINCT …) cannot be merged"),
    ("SELECT COUNT(kind, device) AS n FROM events", f"COUNT takes one argument {ON_1} 8"),
    ("SELECT MAX(amount, 2) AS n FROM events", f"function MAX takes one argument {ON_1} 8"),
    ("SELECT MIN(kind) AS n FROM events", f"function MIN takes a number or a timestamp, this is string {ON_1} 8"),
    ("SELECT SUM(kind) AS n FROM events", f"a number is needed here, this is string {ON_1} 12"),
    ("SELECT SUM(MAX(amount)) AS n FROM events", f"function MAX inside function SUM: aggregates do not nest {ON_1} 12"),
    ("SELECT SUM(amount) OVER () AS n FROM events", f"WINDOW is not accepted in a metric {ON_1} 8"),
    ("SELECT SUM(amount) FILTER (WHERE amount) AS n FROM events", f"a condition must be boolean, this is long {ON_1}"),
    ("SELECT MEDIAN(amount) AS n FROM events", f"function MEDIAN is not accepted in a metric {ON_1} 8"),
    ("SELECT MEDIAN(amount) FILTER (WHERE active) AS n FROM events", "function MEDIAN is not an accepted aggregate"),
    ("SELECT COLLECT_LIST(kind) AS n FROM events", f"is not accepted in a metric {ON_1} 8"),
    ("SELECT APPROX_COUNT_DISTINCT(kind, 0.1) AS n FROM events",
     f"APPROX_COUNT_DISTINCT takes one argument; its error is fixed (1.6 % at 95 %) {ON_1} 8"),
    ("SELECT APPROX_COUNT_DISTINCT(props) AS n FROM events", "cannot compare values of type map<string,string>"),
    ("SELECT APPROX_PERCENTILE(amount, 2) AS n FROM events",
     f"APPROX_PERCENTILE takes one constant rank between 0 and 1 {ON_1}"),
    ("SELECT APPROX_PERCENTILE(amount, array(0.5, 0.9)) AS n FROM events", "takes one constant rank"),
    ("SELECT APPROX_PERCENTILE(amount, 0.5, 100) AS n FROM events", "its accuracy is fixed"),
    # Row expressions.
    ("SELECT COUNT(nope) AS n FROM events", f"contract 'events' has no column 'nope' {ON_1} 14"),
    ("SELECT COUNT(meta.nope) AS n FROM events", "contract 'events' has no column 'meta.nope'"),
    ("SELECT COUNT(props.x) AS n FROM events", "contract 'events' has no column 'props.x'"),
    ("SELECT COUNT(*) AS n FROM events WHERE amount", f"a condition must be boolean, this is long {ON_1} 40"),
    ("SELECT COUNT(*) AS n FROM events WHERE amount = 'a'", f"cannot compare long with string {ON_1} 49"),
    ("SELECT COUNT(*) AS n FROM events WHERE props = props", f"a map<string,string> cannot be compared {ON_1} 40"),
    ("SELECT COUNT(*) AS n FROM events WHERE meta = meta", "a struct cannot be compared"),
    ("SELECT COUNT(COALESCE(meta, meta)) AS n FROM events", "a struct is not a value"),
    ("SELECT COUNT(CASE WHEN 1 > 0 THEN meta END) AS n FROM events", "a struct is not a value"),
    ("SELECT COUNT(GREATEST(props, props)) AS n FROM events", "a map<string,string> cannot be compared"),
    ("SELECT SUM(GREATEST(amount)) AS n FROM events", f"GREATEST takes two values or more {ON_1} 12"),
    ("SELECT COUNT(*) AS n FROM events WHERE kind IN (SELECT 1)",
     f"IN takes a list of constants, not a query {ON_1} 40"),
    ("SELECT COUNT(*) AS n FROM events WHERE EXISTS (SELECT 1)", "function EXISTS is not accepted in a metric"),
    ("SELECT COUNT(*) AS n FROM events WHERE kind RLIKE '(a+)+'", "function REGEXP_LIKE is not accepted in a metric"),
    ("SELECT COUNT(*) AS n FROM events WHERE kind LIKE device",
     "LIKE compares a string column with a constant pattern"),
    (r"SELECT COUNT(*) AS n FROM events WHERE kind LIKE 'a\\q'",
     f"in a LIKE pattern, a backslash stands before %, _ or another backslash {ON_1}"),
    ("SELECT COUNT(*) AS n FROM events WHERE rand() > 0.5", "function RAND is not accepted in a metric"),
    ("SELECT COUNT(*) AS n FROM events WHERE at > current_timestamp()", "function CURRENT_TIMESTAMP is not accepted"),
    ("SELECT COUNT(*) AS n FROM events WHERE active IS TRUE", "only IS NULL and IS NOT NULL are accepted"),
    ("SELECT COUNT(*) AS n FROM events WHERE amount BETWEEN SYMMETRIC 1 AND 2", "BETWEEN SYMMETRIC is not accepted"),
    ("SELECT COUNT(*) AS n FROM events WHERE kind = :x", "PLACEHOLDER is not accepted in a metric"),
    ("SELECT COUNT(*) AS n FROM events WHERE kind = ${x}", "PARAMETER is not accepted in a metric"),
    ("SELECT COUNT(LOWER(amount)) AS n FROM events", "function LOWER takes one string"),
    ("SELECT COUNT(TRIM('x' FROM kind)) AS n FROM events", "function TRIM takes one string"),
    ("SELECT COUNT(CAST(kind AS DECIMAL(10, 2))) AS n FROM events", "cannot cast to DECIMAL(10, 2)"),
    ("SELECT COUNT(CAST(props AS STRING)) AS n FROM events", "cannot cast a map<string,string> to string"),
    ("SELECT COUNT(kind['x']) AS n FROM events", "[…] takes a map column and one constant string key"),
    ("SELECT COUNT(props[kind]) AS n FROM events", "[…] takes a map column and one constant string key"),
    ("SELECT COUNT(IF(active, 1, 'x')) AS n FROM events", f"branches of different types: long, string {ON_1}"),
    ("SELECT SUM(amount * WINDOW_HOURS()) AS n FROM events", "function WINDOW_HOURS is not accepted in a metric"),
    # Finalise expressions.
    ("SELECT WINDOW_HOURS(1) * COUNT(*) AS n FROM events", "function WINDOW_HOURS is not accepted in a metric"),
    ("SELECT COUNT(*) || 'x' AS n FROM events", "DPIPE is not accepted in a metric"),
    ("SELECT MAX(at) + 1 AS n FROM events", f"a number is needed here, this is timestamp {ON_1} 8"),
    ("SELECT COUNT(*) AND TRUE AS n FROM events", f"a condition must be boolean, this is long {ON_1} 8"),
    ("SELECT COUNT(*) IS TRUE AS n FROM events", "only IS NULL and IS NOT NULL are accepted"),
    ("SELECT COUNT(*) = 'x' AS n FROM events", f"values of different types: long, string {ON_1}"),
    ("SELECT GREATEST(COUNT(*)) AS n FROM events", "function GREATEST takes two values or more"),
    ("SELECT ROUND(AVG(amount), -1) AS n FROM events", "ROUND takes a constant number of places from 0 to 15"),
    ("SELECT ROUND(AVG(amount), 16) AS n FROM events", "ROUND takes a constant number of places from 0 to 15"),
    ("SELECT CAST(COUNT(*) AS STRING) AS n FROM events", "cannot cast to STRING"),
    # Numbers that no column holds.
    ("SELECT SUM(amount * 1e999) AS n FROM events", f"number 1e999 is out of range {ON_1}"),
    ("SELECT SUM(amount) * 1e999 AS n FROM events", f"number 1e999 is out of range {ON_1}"),
    ("SELECT SUM(9223372036854775808) AS n FROM events", "number 9223372036854775808 is out of range"),
    ("SELECT SUM(amount) + 9223372036854775808 AS n FROM events", "number 9223372036854775808 is out of range"),
    (f"SELECT SUM({'9' * 5000}) AS n FROM events", f"number {'9' * 40} is out of range"),
    (f"SELECT SUM(1.{'9' * 5000}) AS n FROM events", "is out of range"),
    ("SELECT SUM(amount * 0x1F) AS n FROM events", "HEXSTRING is not accepted in a metric"),
    # Depth and size.
    (f"SELECT SUM({'(' * 3000}amount{')' * 3000}) AS n FROM events", "SQL is nested too deeply"),
    (f"SELECT SUM({'+'.join(['amount'] * 2000)}) AS n FROM events", "SQL is nested too deeply"),
    (f"SELECT {'+'.join(['COUNT(*)'] * 1500)} AS n FROM events", "SQL is nested too deeply"),
    (f"SELECT COUNT(*) AS n FROM events WHERE {' AND '.join(['active'] * 1000)}", "SQL is nested too deeply"),
    (f"SELECT COUNT(*) AS n FROM events -- {'x' * 20_000}", "SQL is longer than 20000 characters"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "why"), REFUSED, ids=[row[0][:80] for row in REFUSED])
def test_a_refusal_names_the_construct_and_where_it_stands(sql: str, why: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        compiled(sql)
    line = str(refused.value)
    assert why in line
    assert line.startswith("metric m: ")
    assert "\n" not in line


def test_a_null_condition_has_a_type_for_spark_refuses_a_bare_one() -> None:
    metric = compiled("SELECT COUNT_IF(NULL) AS n, CASE WHEN NULL THEN 1 ELSE COUNT(*) END AS m FROM events WHERE NULL")
    assert metric.where == "CAST(NULL AS BOOLEAN)"
    assert metric.components[0].sql == "CASE WHEN CAST(NULL AS BOOLEAN) THEN 1L ELSE 0L END"
    assert metric.outputs[1].final.spark_sql.startswith("CASE WHEN CAST(NULL AS BOOLEAN) THEN")
    assert metric.outputs[1].final.evaluate((0, 3), 600) == 3


def test_the_position_counts_lines() -> None:
    with pytest.raises(DefinitionError, match=r"no column 'nope' at line 3, column 9$"):
        compiled("SELECT\n  COUNT(*) AS n, -- hello\n  COUNT(nope) AS m FROM events")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT /* one */ COUNT(*) AS n -- two\nFROM events;",
        "FROM events SELECT COUNT(*) AS n",
        "select count(*) as n from `events`",
        "SELECT ALL (COUNT(*)) AS n FROM events AS e",
    ],
)
def test_comments_order_and_case_change_nothing(sql: str) -> None:
    assert compiled(sql).fingerprint == compiled("SELECT COUNT(*) AS n FROM events").fingerprint


def test_nothing_passes_as_text() -> None:
    metric = compiled(
        r"""SELECT COUNT_IF(kind = 'it\'s \\ -- ${x} ; DROP' OR `kind` LIKE 'a\\_%') AS n FROM events /* c */"""
    )
    assert metric.components[0].sql == (
        r"""CASE WHEN ((`kind` = 'it\'s \\ -- \u0024{x} ; DROP') OR (`kind` LIKE 'a\\_%')) THEN 1L ELSE 0L END"""
    )


def test_columns_may_be_qualified_by_table_or_alias() -> None:
    plain = compiled("SELECT COUNT(kind) AS n FROM events").fingerprint
    assert compiled("SELECT COUNT(events.kind) AS n FROM events").fingerprint == plain
    assert compiled("SELECT COUNT(e.kind) AS n FROM events e").fingerprint == plain


def test_dimensions_are_columns_struct_fields_or_named_expressions() -> None:
    metric = compiled(
        "SELECT kind, meta.firmware, LOWER(device) AS unit, amount > 3 AS big, COUNT(*) AS n FROM events "
        "GROUP BY kind, meta.firmware, unit, amount > 3, site, at"
    )
    assert [(dim.name, dim.sql, dim.type) for dim in metric.dims] == [
        ("kind", "`kind`", "string"), ("firmware", "`meta`.`firmware`", "string"),
        ("unit", "lower(`device`)", "string"),
        ("big", "(`amount` > 3L)", "boolean"), ("site", "`site`", "long"), ("at", "`at`", "timestamp"),
    ]  # fmt: skip
    assert metric.dim("site") == metric.dims[4]
    assert metric.dim("n") is None


def test_a_column_comes_before_an_alias_in_group_by_as_in_spark() -> None:
    metric = compiled("SELECT kind, COUNT(*) AS n FROM events GROUP BY kind, kind")
    assert [dim.sql for dim in metric.dims] == ["`kind`"]


def test_equal_components_are_shared() -> None:
    metric = compiled(
        "SELECT AVG(amount) AS a, SUM(amount) AS s, COUNT(amount) AS n, MIN(amount) AS lo, VAR_POP(amount) AS v, "
        "STDDEV(amount) AS d FROM events"
    )
    assert [component.kind for component in metric.components] == [
        Kind.SUM_INT, Kind.COUNT, Kind.MIN_INT, Kind.MOMENTS,
    ]  # fmt: skip


def test_null_checks_are_left_out_where_a_column_is_required() -> None:
    assert measure("COUNT(steps)").components[0].sql == "1L"
    assert "IS NOT NULL" in measure("COUNT(amount)").components[0].sql
    assert "IS NOT NULL" in measure("COUNT(meta.load)").components[0].sql
    assert "IS NOT NULL" in measure("COUNT(steps IN (1, NULL))").components[0].sql


def test_a_column_that_one_version_lacks_may_be_null() -> None:
    older = {name: spec for name, spec in FIELDS.items() if name != "volts"}
    contracts = {"events": contract_set(older, FIELDS)}
    metric = compiled("SELECT COUNT(volts) AS n FROM events", contracts)
    assert "IS NOT NULL" in metric.components[0].sql


def test_a_computed_double_that_is_not_finite_counts_as_null() -> None:
    assert "Infinity" in measure("SUM(CAST(props['x'] AS DOUBLE))").components[0].sql
    assert "Infinity" in measure("MAX(watts * watts)").components[0].sql
    assert measure("MAX((watts))").components[0].sql == "`watts`"


def test_windows_are_sorted_and_the_longest_is_the_granule() -> None:
    metric = compiled("SELECT COUNT(*) AS n FROM events", windows=["30m", "1m", "1h"])
    assert metric.windows == (60, 1800, 3600)
    assert metric.granule_s == 3600
    assert metric.family == f"m@{metric.fingerprint}"


SQL = "SELECT kind, SUM(amount) AS s FROM events WHERE active GROUP BY kind"


def test_words_about_a_metric_keep_its_family() -> None:
    other = compiled(
        SQL.replace("SELECT", "SELECT -- again\n"), description="new", category="x", owner="y", schedule="0 3 * * *",
        retention={"hot": "1h"}, min_quality=0.9, publish={"latest": "a:{kind}:b", "window": "c:{kind}:{window_start}"},
    )  # fmt: skip
    assert other.fingerprint == compiled(SQL).fingerprint
    assert other.publish == {"latest": "a:{kind}:b", "window": "c:{kind}:{window_start}"}


@pytest.mark.parametrize(
    ("sql", "more"),
    [
        (SQL.replace("active", "NOT active"), {}),
        (SQL.replace(" WHERE active", ""), {}),
        (SQL.replace("SUM(amount)", "SUM(steps)"), {}),
        (SQL.replace("SUM(amount)", "-SUM(amount)"), {}),
        (SQL.replace("AS s", "AS t"), {}),
        (SQL.replace("GROUP BY kind", "GROUP BY kind, device"), {}),
        (SQL, {"windows": ["10m"]}),
    ],
)
def test_a_changed_meaning_is_another_family(sql: str, more: dict[str, Any]) -> None:
    assert compiled(sql, **more).fingerprint != compiled(SQL).fingerprint


def test_a_changed_column_type_is_another_family() -> None:
    wider = {"events": contract_set({**FIELDS, "amount": {"type": "double"}})}
    assert compiled(SQL, wider).fingerprint != compiled(SQL).fingerprint
    as_long = {"events": contract_set({**FIELDS, "kind": {"type": "long"}})}
    assert compiled(SQL, as_long).fingerprint != compiled(SQL).fingerprint


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"windows": []}, "windows: "),
        ({"windows": ["2m"]}, "unknown window '2m'; known: 1m, 5m"),
        ({"windows": ["10m", "10m"]}, "windows must differ"),
        ({"windows": "10m"}, "windows: "),
        ({"name": "Bad Name"}, "metric Bad Name: name: "),
        ({"name": "a\nb"}, "metric a b: name: "),
        ({"sql": 3}, "sql: "),
        ({"schedule": "whenever"}, "schedule: 'whenever' is not a cron expression"),
        ({"retention": {"hot": "soon"}}, "retention.hot: 'soon' is not a duration"),
        ({"retention": {"tepid": "1h"}}, "retention.tepid: "),
        ({"min_quality": 2}, "min_quality: "),
        ({"batch_only": "yes"}, "batch_only: "),
        ({"publish": {"latest": "a:{nope}"}}, "publish: {nope} is neither a dimension nor window_start"),
        ({"publish": {"latest": "a:{kind"}}, "publish.latest: "),
        ({"publish": {"window": "tm1:x"}}, "publish.window: "),
        ({"colour": "red"}, "colour: "),
    ],
)
def test_a_wrong_definition_is_one_line_that_names_the_field(change: dict[str, Any], why: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        compile_metric({"name": "m", "sql": SQL, "windows": ["10m"], **change}, CONTRACTS)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("document", [None, [], "text", {}])
def test_a_document_that_is_no_definition_is_refused(document: object) -> None:
    with pytest.raises(DefinitionError, match="metric"):
        compile_metric(document, CONTRACTS)


# The registry.


def write(folder: Path, name: str, text: str | bytes) -> None:
    (folder / "metrics").mkdir(exist_ok=True)
    path = folder / "metrics" / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


GOOD = "name: good\nsql: SELECT COUNT(*) AS n FROM access\nwindows: [10m]\n"


def test_everything_that_ships_compiles() -> None:
    registry = load_registry([CONF])
    assert {"device_access", "device_energy", "active_users", "order_processing"} <= set(registry.metrics)
    assert [metric.name for metric in registry.metrics_of("access")] == ["device_access"]
    assert registry.errors == ()


def test_a_folder_may_bring_metrics_alone(tmp_path: Path) -> None:
    write(tmp_path, "good.yaml", GOOD)
    assert set(load_registry([tmp_path], packaged=CONF).metrics) == {"good"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "name: [",
            "bad.yaml: not valid YAML: expected the node content, but found '<stream end>' at line 1, column 8",
        ),
        ("name: a\nname: b", "bad.yaml: not valid YAML: 'name' is given twice at line 2, column 1"),
        ("a: &x [*x]\nb: !!python/object:os.system {}", "bad.yaml: not valid YAML: "),
        (b"\xff\xfe\x00", "bad.yaml: "),
        ("[" * 5000, "bad.yaml: YAML is nested too deeply"),
        (GOOD, "bad.yaml: metric good is defined twice"),
        ("name: a\nsql: SELECT\nwindows: [10m]", "bad.yaml: metric a: a metric reads FROM one contract"),
    ],
)
def test_a_bad_file_is_one_line_and_does_not_take_the_others_down(tmp_path: Path, text: str | bytes, why: str) -> None:
    write(tmp_path, "a.yaml", GOOD)
    write(tmp_path, "bad.yaml", text)
    with pytest.raises(DefinitionError) as refused:
        load_registry([tmp_path], packaged=CONF)
    assert str(refused.value).startswith(why)
    assert "\n" not in str(refused.value)
    lenient = load_registry([tmp_path], packaged=CONF, strict=False)
    assert set(lenient.metrics) == {"good"}
    assert [str(error) for error in lenient.errors] == [str(refused.value)]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics" / "bad.yaml").mkdir(parents=True)
    with pytest.raises(DefinitionError, match=r"^bad.yaml: cannot be read: IsADirectoryError$"):
        load_registry([tmp_path], packaged=CONF)
