"""Metric SQL → Metric. One compilation serves the stream, the batch and the API."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from tidemark.contracts import ContractSet
from tidemark.errors import DefinitionError
from tidemark.metrics.aggregates import AggregateBuilder
from tidemark.metrics.columns import ColumnScope
from tidemark.metrics.definition import Definition, duration_seconds, parse_definition
from tidemark.metrics.expressions import RowTranslator
from tidemark.metrics.model import Dim, Metric, Output, Retention
from tidemark.metrics.nodes import refuse
from tidemark.metrics.outputs import OutputTranslator
from tidemark.windows import WINDOWS

STATE_FORMAT = 1
"""Part of every fingerprint: a change of how components accumulate makes every family a new one."""

_CLAUSES = {"expressions", "from_", "where", "group"}
_DIM_TYPES = ("string", "long", "boolean", "timestamp")
_RESERVED = {
    "metric",
    "version",
    "window",
    "window_start",
    "window_end",
    "window_s",
    "window_date",
    "dims_key",
    "partial",
}
_STATE_NAME = re.compile(r"(state_)?c\d+_\w+", re.IGNORECASE)
_NAME = re.compile(r"[^\W\d]\w{0,62}")
_MAX_SQL = 20_000
_MAX_DEPTH = 100


def compile_metric(document: Any, contracts: Mapping[str, ContractSet]) -> Metric:
    """Compile one definition (a parsed YAML document). DefinitionError names construct and position."""
    definition = parse_definition(document)
    try:
        return _Compilation(definition, contracts).metric(document)
    except RecursionError:
        raise DefinitionError(f"metric {definition.name}: SQL is nested too deeply") from None
    except DefinitionError as error:
        raise DefinitionError(f"metric {definition.name}: {error}") from None


def parse_select(sql: str) -> exp.Select:
    """The one SELECT of a definition; anything else is refused, with its position."""
    if len(sql) > _MAX_SQL:
        raise DefinitionError(f"SQL is longer than {_MAX_SQL} characters")
    try:
        statements = sqlglot.parse(sql, read="spark")
    except SqlglotError as error:
        first = (getattr(error, "errors", None) or [{}])[0]
        place = f" at line {first['line']}, column {first['col']}" if first.get("line") else ""
        raise DefinitionError(f"SQL cannot be parsed{place}") from None
    except RecursionError:
        raise DefinitionError("SQL is nested too deeply") from None
    if len(statements) != 1 or type(statements[0]) is not exp.Select:
        found = [type(statement).__name__.upper() for statement in statements if statement is not None]
        raise DefinitionError(f"a metric is one SELECT statement, not {' and '.join(found) or 'an empty text'}")
    _refuse_depth(statements[0])
    return statements[0]


def _refuse_depth(select: exp.Select) -> None:
    """A limit of our own: Python's depends on who calls, and Spark parses the emitted text recursively, too."""
    level: list[exp.Expr] = [select]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in node.iter_expressions()]
        if not level:
            return
    raise refuse(level[0], f"SQL is nested too deeply, more than {_MAX_DEPTH} levels,")


class _Compilation:
    """State of compiling one definition: the parsed SELECT and the translators over its contract."""

    def __init__(self, definition: Definition, contracts: Mapping[str, ContractSet]) -> None:
        self.definition = definition
        self.select = parse_select(definition.sql)
        self._refuse_clauses()
        self.contract, tables = self._source(contracts)
        self.rows = RowTranslator(ColumnScope(self.contract), tables)
        self.aggregates = AggregateBuilder(self.rows)

    def metric(self, document: dict[str, Any]) -> Metric:
        where = self.select.args.get("where")
        condition = self.rows.condition(where.this).sql if where else None
        dims = self._dims()
        outputs = self._outputs(dims)
        unknown = sorted(self.definition.publish.placeholders() - {dim.name for dim in dims} - {"window_start"})
        if unknown:
            raise DefinitionError(f"publish: {{{unknown[0]}}} is neither a dimension nor window_start")
        return self._assemble(document, condition, dims, outputs)

    def _refuse_clauses(self) -> None:
        for clause, value in self.select.args.items():
            if value and clause not in _CLAUSES:
                node = value[0] if isinstance(value, list) else value
                name = clause.rstrip("_").upper().removesuffix("S")
                if isinstance(node, exp.Expression):
                    raise refuse(node, f"{name} is not accepted in a metric")
                raise DefinitionError(f"{name} is not accepted in a metric")

    def _source(self, contracts: Mapping[str, ContractSet]) -> tuple[ContractSet, frozenset[str]]:
        source = self.select.args.get("from_")
        table = source.this if source else None
        if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
            raise DefinitionError("a metric reads FROM one contract")
        extras = [key for key, value in table.args.items() if value and key not in ("this", "alias")]
        alias = table.args.get("alias")
        plain_alias = alias is None or (isinstance(alias.this, exp.Identifier) and not alias.args.get("columns"))
        if extras or not plain_alias or table.name not in contracts:
            known = ", ".join(sorted(contracts))
            raise refuse(table, f"FROM must name a contract, not {table.sql(dialect='spark')!r}; known: {known}")
        return contracts[table.name], frozenset({table.name, table.alias_or_name})

    def _dims(self) -> tuple[Dim, ...]:
        group = self.select.args.get("group")
        if group is None:
            return ()
        extras = [key for key, value in group.args.items() if value and key != "expressions"]
        if extras:
            raise DefinitionError(f"GROUP BY {extras[0].upper()} is not accepted in a metric")
        dims = [self._dim(node) for node in group.expressions]
        return tuple(dict.fromkeys(dims))

    def _dim(self, node: exp.Expression) -> Dim:
        if isinstance(node, exp.Literal):
            raise refuse(node, "GROUP BY takes column names, not positions")
        item = next((item for item in self.select.expressions if self._is_named(item, node)), None)
        value = self.rows.translate(item.unalias() if item is not None else node)
        if value.type not in _DIM_TYPES:
            raise refuse(node, f"cannot group by a {value.type}; only by {', '.join(_DIM_TYPES)}")
        if item is None:
            item = next((item for item in self.select.expressions if self._reads(item, value.sql)), node)
        if not item.alias_or_name:
            raise refuse(node, "an expression in GROUP BY needs a name: alias it in SELECT")
        return Dim(item.alias_or_name, value.sql, value.type)

    def _is_named(self, item: exp.Expression, node: exp.Expression) -> bool:
        """Whether GROUP BY names a SELECT item by its alias. As in Spark, a column of that name comes first."""
        return (
            isinstance(item, exp.Alias)
            and isinstance(node, exp.Column)
            and not node.table
            and item.alias == node.name
            and not self.rows.knows(node)
        )

    def _reads(self, item: exp.Expression, sql: str) -> bool:
        """Whether a SELECT item is the row-level expression `sql`."""
        try:
            return self.rows.translate(item.unalias()).sql == sql
        except DefinitionError:
            return False

    def _outputs(self, dims: tuple[Dim, ...]) -> tuple[Output, ...]:
        translator = OutputTranslator(self.aggregates)
        outputs: list[Output] = []
        for item in self.select.expressions:
            if isinstance(item, exp.Star):
                raise refuse(item, "SELECT * is not accepted: name the measures")
            if any(item.alias_or_name == dim.name and self._reads(item, dim.sql) for dim in dims):
                continue
            if isinstance(item, exp.Column):
                raise refuse(item, f"column {item.name!r} must be in GROUP BY or in an aggregate")
            if isinstance(item, exp.QueryTransform):
                raise refuse(item, "TRANSFORM is not accepted in a metric")
            if not isinstance(item, exp.Alias):
                raise refuse(item, f"{item.sql(dialect='spark')} needs a name: add AS …")
            final = translator.translate(item.this)
            if final.type == "null":
                raise refuse(item, f"{item.alias!r} is always NULL")
            outputs.append(Output(item.alias, final.type, final))
        self._check_names([output.name for output in outputs], [dim.name for dim in dims])
        return tuple(outputs)

    def _check_names(self, names: list[str], dims: list[str]) -> None:
        if not names or not self.aggregates.components:
            raise DefinitionError("SELECT has no aggregate")
        for name in [*names, *dims]:
            if not _NAME.fullmatch(name):
                raise DefinitionError(f"{name!r} is not a name: letters, digits and _, at most 63")
            if name.lower() in _RESERVED or _STATE_NAME.fullmatch(name):
                raise DefinitionError(f"the name {name!r} is reserved")
        folded = [name.lower() for name in [*names, *dims]]
        repeated = sorted({name for name in folded if folded.count(name) > 1})
        if repeated:
            raise DefinitionError(f"the name {repeated[0]!r} is used twice")

    def _assemble(
        self, document: dict[str, Any], where: str | None, dims: tuple[Dim, ...], outputs: tuple[Output, ...]
    ) -> Metric:
        definition, components = self.definition, tuple(self.aggregates.components)
        windows = tuple(sorted(WINDOWS[name] for name in definition.windows))
        identity = [
            STATE_FORMAT,
            self.contract.name,
            where,
            windows,
            [[dim.name, dim.sql, dim.type] for dim in dims],
            [[component.kind, component.sql] for component in components],
            [[output.name, output.type, output.final.spark_sql] for output in outputs],
        ]
        retention = definition.retention
        return Metric(
            name=definition.name,
            description=definition.description,
            sql=definition.sql,
            contract=self.contract.name,
            dims=dims,
            where=where,
            components=components,
            outputs=outputs,
            windows=windows,
            schedule=definition.schedule,
            retention=Retention(*(duration_seconds(t) for t in (retention.hot, retention.warm, retention.cold))),
            category=definition.category,
            owner=definition.owner,
            publish=definition.publish.model_dump(exclude_none=True),
            min_quality=definition.min_quality,
            batch_only=definition.batch_only,
            fingerprint=hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12],
            source_text=document,
        )
