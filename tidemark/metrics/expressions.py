"""Row-level SQL (inside aggregates, WHERE, GROUP BY): an allow-list that translates, so nothing passes as text.

Each accepted node has a translator to Spark SQL; a node without one is refused by name and position. Arithmetic is
emitted in its `try_` form: Spark runs in ANSI mode, and one event with a zero divisor or an overflow must give NULL
for itself, not stop the stream for everybody.
"""

import re
from collections.abc import Callable
from typing import cast

from sqlglot import exp

from tidemark.metrics.columns import ColumnScope
from tidemark.metrics.nodes import COMPARISONS, Typed, as_double, describe, is_numeric, literal, number_of, refuse

_FIRST_OF: dict[type[exp.Expression], str] = {
    exp.Coalesce: "coalesce",
    exp.Greatest: "greatest",
    exp.Least: "least",
}
_LIKE_PATTERN = re.compile(r"(?:[^\\]|\\[%_\\])*", re.DOTALL)


_CASTS = {
    "BIGINT": "long",
    "INT": "long",
    "DOUBLE": "double",
    "FLOAT": "double",
    "VARCHAR": "string",
    "TEXT": "string",
    "BOOLEAN": "boolean",
}
_SPARK_TYPES = {"long": "BIGINT", "double": "DOUBLE", "string": "STRING", "boolean": "BOOLEAN"}
_COMPARISONS: dict[type[exp.Expression], str] = {**COMPARISONS, exp.NullSafeEQ: "<=>"}
_ARITHMETIC: dict[type[exp.Expression], tuple[str, str]] = {
    exp.Add: ("try_add", "+"),
    exp.Sub: ("try_subtract", "-"),
    exp.Mul: ("try_multiply", "*"),
}
_TEXT_FUNCTIONS: dict[type[exp.Expression], str] = {exp.Lower: "lower", exp.Upper: "upper", exp.Trim: "trim"}


class RowTranslator:
    """Translates row-level expressions over one contract's columns."""

    def __init__(self, scope: ColumnScope, table_names: frozenset[str]) -> None:
        self._scope = scope
        self._tables = table_names

    def translate(self, node: exp.Expr) -> Typed:
        handler = _HANDLERS.get(type(node))  # type: ignore[arg-type]  # an Expr that is no Expression has none
        if handler is None:
            raise refuse(node, f"{describe(node)} is not accepted in a metric")
        return handler(self, cast(exp.Expression, node))

    def knows(self, node: exp.Column) -> bool:
        """Whether a name is a column of the contract."""
        return self._scope.resolve(tuple(part.name for part in node.parts)) is not None

    def condition(self, node: exp.Expression) -> Typed:
        result = self.translate(node)
        if result.type not in ("boolean", "null"):
            raise refuse(node, f"a condition must be boolean, this is {result.type}")
        # Spark refuses a bare NULL where it wants a condition, and with it the query of all metrics.
        return Typed("CAST(NULL AS BOOLEAN)", "boolean") if result.type == "null" else result

    def number(self, node: exp.Expression) -> Typed:
        result = self.translate(node)
        if not is_numeric(result.type) and result.type != "null":
            raise refuse(node, f"a number is needed here, this is {result.type}")
        return result

    def column(self, node: exp.Expression) -> Typed:
        path = tuple(part.name for part in node.parts) if isinstance(node, exp.Column) else (node.name,)
        ref = self._scope.resolve(path)
        if ref is None and len(path) > 1 and path[0] in self._tables:
            ref = self._scope.resolve(path[1:])
        if ref is None:
            contract = self._scope.contract.name
            raise refuse(node, f"contract {contract!r} has no column {'.'.join(path)!r}")
        return Typed(ref.sql, ref.type, ref.nullable)

    def constant(self, node: exp.Expression) -> Typed:
        if isinstance(node, exp.Null):
            return Typed("NULL", "null")
        if isinstance(node, exp.Boolean):
            return Typed("TRUE" if node.this else "FALSE", "boolean", False)
        if node.args.get("is_string"):
            return Typed(literal(node.name), "string", False)
        value = number_of(node)
        return Typed(f"{value}L", "long", False) if isinstance(value, int) else Typed(f"{value!r}D", "double", False)

    def arithmetic(self, node: exp.Expression) -> Typed:
        left, right = self.number(node.this), self.number(node.expression)
        if isinstance(node, exp.Div):
            return Typed(f"try_divide({as_double(left)}, {as_double(right)})", "double")
        if isinstance(node, exp.Mod):
            kind = "long" if left.type == right.type == "long" else "double"
            parts = (left.sql, right.sql) if kind == "long" else (as_double(left), as_double(right))
            return Typed(f"try_mod({parts[0]}, {parts[1]})", kind)
        function, operator = _ARITHMETIC[type(node)]
        if left.type == right.type == "long":
            return Typed(f"{function}({left.sql}, {right.sql})", "long")
        return Typed(f"({as_double(left)} {operator} {as_double(right)})", "double", left.nullable or right.nullable)

    def negation(self, node: exp.Expression) -> Typed:
        value = self.number(node.this)
        if value.type == "long":
            return Typed(f"try_subtract(0L, {value.sql})", "long")
        return Typed(f"(- {as_double(value)})", "double", value.nullable)

    def comparison(self, node: exp.Expression) -> Typed:
        left, right = self.translate(node.this), self.translate(node.expression)
        self.check_comparable(node, left, right)
        sql = f"({left.sql} {_COMPARISONS[type(node)]} {right.sql})"
        return Typed(sql, "boolean", (left.nullable or right.nullable) and not isinstance(node, exp.NullSafeEQ))

    def check_comparable(self, node: exp.Expression, left: Typed, right: Typed) -> None:
        for side in (left, right):
            if side.type == "struct" or side.type.startswith("map"):
                raise refuse(node, f"a {side.type} cannot be compared")
        alike = left.type == right.type or (is_numeric(left.type) and is_numeric(right.type))
        if not alike and "null" not in (left.type, right.type):
            raise refuse(node, f"cannot compare {left.type} with {right.type}")

    def logic(self, node: exp.Expression) -> Typed:
        left, right = self.condition(node.this), self.condition(node.expression)
        operator = "AND" if isinstance(node, exp.And) else "OR"
        return Typed(f"({left.sql} {operator} {right.sql})", "boolean", left.nullable or right.nullable)

    def inversion(self, node: exp.Expression) -> Typed:
        value = self.condition(node.this)
        return Typed(f"(NOT {value.sql})", "boolean", value.nullable)

    def null_test(self, node: exp.Expression) -> Typed:
        if not isinstance(node.expression, exp.Null):
            raise refuse(node, "only IS NULL and IS NOT NULL are accepted")
        return Typed(f"({self.translate(node.this).sql} IS NULL)", "boolean", False)

    def membership(self, node: exp.Expression) -> Typed:
        if node.args.get("query") or node.args.get("unnest") or not node.expressions:
            raise refuse(node, "IN takes a list of constants, not a query")
        value, options = self.translate(node.this), [self.translate(option) for option in node.expressions]
        for option in options:
            self.check_comparable(node, value, option)
        nullable = any(part.nullable for part in (value, *options))
        return Typed(f"({value.sql} IN ({', '.join(o.sql for o in options)}))", "boolean", nullable)

    def between(self, node: exp.Expression) -> Typed:
        if node.args.get("symmetric"):
            raise refuse(node, "BETWEEN SYMMETRIC is not accepted in a metric")
        value, low, high = (self.translate(node.args[part]) for part in ("this", "low", "high"))
        self.check_comparable(node, value, low)
        self.check_comparable(node, value, high)
        return Typed(f"({value.sql} BETWEEN {low.sql} AND {high.sql})", "boolean")

    def like(self, node: exp.Expression) -> Typed:
        value, pattern = self.translate(node.this), node.expression
        if value.type != "string" or not (isinstance(pattern, exp.Literal) and pattern.is_string):
            raise refuse(node, "LIKE compares a string column with a constant pattern")
        if not _LIKE_PATTERN.fullmatch(pattern.name):
            raise refuse(node, "in a LIKE pattern, a backslash stands before %, _ or another backslash")
        return Typed(f"({value.sql} LIKE {literal(pattern.name)})", "boolean", value.nullable)

    def case(self, node: exp.Expression) -> Typed:
        subject, branches = node.this, []
        for branch in node.args.get("ifs") or [node]:
            test = (
                exp.EQ(this=subject.copy(), expression=branch.this)
                if isinstance(node, exp.Case) and subject
                else branch.this
            )
            branches.append((self.condition(test), self.translate(branch.args["true"])))
        default = node.args.get("default") if isinstance(node, exp.Case) else node.args.get("false")
        otherwise = self.translate(default) if default is not None else Typed("NULL", "null")
        values = self.unify(node, [*(value for _, value in branches), otherwise])
        pairs = zip((test for test, _ in branches), values[:-1], strict=True)
        whens = " ".join(f"WHEN {test.sql} THEN {value.sql}" for test, value in pairs)
        nullable = any(value.nullable for value in values)
        return Typed(f"CASE {whens} ELSE {values[-1].sql} END", values[0].type, nullable)

    def unify(self, node: exp.Expression, values: list[Typed]) -> list[Typed]:
        """Bring branches to one type: numbers widen to double, NULL takes the type of the others."""
        types = {value.type for value in values} - {"null"}
        if "struct" in types:
            # Two structs are of one type here and of two in Spark, which refuses the query of all metrics.
            raise refuse(node, "a struct is not a value: name one of its fields")
        if len(types) > 1 and all(is_numeric(type_) for type_ in types):
            values = [v if v.type == "null" else Typed(as_double(v), "double", v.nullable) for v in values]
            types = {"double"}
        if len(types) > 1:
            raise refuse(node, f"branches of different types: {', '.join(sorted(types))}")
        type_ = types.pop() if types else "null"
        return [Typed(value.sql, type_, value.nullable) for value in values]

    def first_of(self, node: exp.Expression) -> Typed:
        parts = [node.this, *node.expressions]
        values = self.unify(node, [self.translate(part) for part in parts])
        name = _FIRST_OF[type(node)]
        if name != "coalesce":
            if len(values) < 2:
                raise refuse(node, f"{name.upper()} takes two values or more")
            self.check_comparable(node, values[0], values[0])
        sql = f"{name}({', '.join(value.sql for value in values)})"
        return Typed(sql, values[0].type, all(value.nullable for value in values))

    def null_if(self, node: exp.Expression) -> Typed:
        value, other = self.translate(node.this), self.translate(node.expression)
        self.check_comparable(node, value, other)
        return Typed(f"nullif({value.sql}, {other.sql})", value.type)

    def absolute(self, node: exp.Expression) -> Typed:
        value = self.number(node.this)
        if value.type == "long":
            return Typed(f"CASE WHEN {value.sql} < 0L THEN try_subtract(0L, {value.sql}) ELSE {value.sql} END", "long")
        return Typed(f"abs({as_double(value)})", "double", value.nullable)

    def text_function(self, node: exp.Expression) -> Typed:
        value = self.translate(node.this)
        extra = [name for name, arg in node.args.items() if name != "this" and arg]
        if value.type != "string" or extra:
            raise refuse(node, f"{describe(node)} takes one string")
        return Typed(f"{_TEXT_FUNCTIONS[type(node)]}({value.sql})", "string", value.nullable)

    def cast(self, node: exp.Expression) -> Typed:
        value, target = self.translate(node.this), _CASTS.get(node.args["to"].this.name)
        if target is None:
            raise refuse(node, f"cannot cast to {node.args['to'].sql(dialect='spark')}")
        if value.type == "struct" or value.type.startswith("map") or (value.type, target) == ("timestamp", "boolean"):
            raise refuse(node, f"cannot cast a {value.type} to {target}")
        return Typed(f"try_cast({value.sql} AS {_SPARK_TYPES[target]})", target)

    def map_entry(self, node: exp.Expression) -> Typed:
        value, keys = self.translate(node.this), node.expressions
        if not value.type.startswith("map") or len(keys) != 1 or not keys[0].is_string:
            raise refuse(node, "[…] takes a map column and one constant string key")
        return Typed(f"try_element_at({value.sql}, {literal(keys[0].name)})", "string")

    def nested(self, node: exp.Expression) -> Typed:
        return self.translate(node.this)


_HANDLERS: dict[type[exp.Expression], Callable[[RowTranslator, exp.Expression], Typed]] = {
    exp.Column: RowTranslator.column,
    exp.Paren: RowTranslator.nested,
    exp.Neg: RowTranslator.negation,
    exp.Literal: RowTranslator.constant,
    exp.Boolean: RowTranslator.constant,
    exp.Null: RowTranslator.constant,
    **dict.fromkeys((exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod), RowTranslator.arithmetic),
    **dict.fromkeys(_COMPARISONS, RowTranslator.comparison),
    exp.And: RowTranslator.logic,
    exp.Or: RowTranslator.logic,
    exp.Not: RowTranslator.inversion,
    exp.Is: RowTranslator.null_test,
    exp.In: RowTranslator.membership,
    exp.Between: RowTranslator.between,
    exp.Like: RowTranslator.like,
    exp.Case: RowTranslator.case,
    exp.If: RowTranslator.case,
    **dict.fromkeys((exp.Coalesce, exp.Greatest, exp.Least), RowTranslator.first_of),
    exp.Nullif: RowTranslator.null_if,
    exp.Abs: RowTranslator.absolute,
    **dict.fromkeys(_TEXT_FUNCTIONS, RowTranslator.text_function),
    exp.Cast: RowTranslator.cast,
    exp.TryCast: RowTranslator.cast,
    exp.Bracket: RowTranslator.map_entry,
}
