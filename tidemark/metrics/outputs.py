"""Expressions over aggregates in the SELECT list → finalise expressions. An allow-list, like the row level."""

from collections.abc import Callable

from sqlglot import exp

from tidemark.metrics.aggregates import AggregateBuilder
from tidemark.metrics.final import Call, Constant, Final, WindowHours
from tidemark.metrics.nodes import COMPARISONS, describe, is_numeric, literal, number_of, refuse

_NULL = Constant(None, "null", "NULL")
_ARITHMETIC: dict[type[exp.Expression], str] = {
    exp.Add: "add",
    exp.Sub: "subtract",
    exp.Mul: "multiply",
    exp.Mod: "mod",
}
_CASTS = {"BIGINT": "to_long", "INT": "to_long", "DOUBLE": "to_double", "FLOAT": "to_double"}


class OutputTranslator:
    """Translates one SELECT item; aggregates go to the builder, everything else becomes a `Call` over them."""

    def __init__(self, aggregates: AggregateBuilder) -> None:
        self._aggregates = aggregates

    def translate(self, node: exp.Expression) -> Final:
        if self._aggregates.accepts(node):
            return self._aggregates.build(node)
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise refuse(node, f"{describe(node)} is not accepted in a metric")
        return handler(self, node)

    def number(self, node: exp.Expression) -> Final:
        value = self.translate(node)
        if not is_numeric(value.type) and value.type != "null":
            raise refuse(node, f"a number is needed here, this is {value.type}")
        return value

    def condition(self, node: exp.Expression) -> Final:
        value = self.translate(node)
        if value.type not in ("boolean", "null"):
            raise refuse(node, f"a condition must be boolean, this is {value.type}")
        return Constant(None, "boolean", "CAST(NULL AS BOOLEAN)") if value.type == "null" else value

    def constant(self, node: exp.Expression) -> Final:
        if isinstance(node, exp.Null):
            return _NULL
        if isinstance(node, exp.Boolean):
            return Constant(bool(node.this), "boolean", "TRUE" if node.this else "FALSE")
        if node.args.get("is_string"):
            return Constant(node.name, "string", literal(node.name))
        value = number_of(node)
        if isinstance(value, int):
            return Constant(value, "long", f"{value}L")
        return Constant(value, "double", f"{value!r}D")

    def column(self, node: exp.Expression) -> Final:
        raise refuse(node, f"column {node.sql(dialect='spark')} must be inside an aggregate or in GROUP BY")

    def named(self, node: exp.Expression) -> Final:
        if str(node.this).upper() == "WINDOW_HOURS" and not node.expressions:
            return WindowHours()
        raise refuse(node, f"{describe(node)} is not accepted in a metric")

    def arithmetic(self, node: exp.Expression) -> Final:
        left, right = self.number(node.this), self.number(node.expression)
        kind = "long" if left.type == right.type == "long" else "double"
        return Call(f"{_ARITHMETIC[type(node)]}_{kind}", (left, right), kind)

    def division(self, node: exp.Expression) -> Final:
        return Call("divide", (self.number(node.this), self.number(node.expression)), "double")

    def negation(self, node: exp.Expression) -> Final:
        value = self.number(node.this)
        kind = "long" if value.type == "long" else "double"
        return Call(f"subtract_{kind}", (Constant(0, "long", "0L"), value), kind)

    def comparison(self, node: exp.Expression) -> Final:
        left, right = self.translate(node.this), self.translate(node.expression)
        self.unify(node, [left, right])
        return Call(COMPARISONS[type(node)], (left, right), "boolean")

    def logic(self, node: exp.Expression) -> Final:
        operator = "and" if isinstance(node, exp.And) else "or"
        return Call(operator, (self.condition(node.this), self.condition(node.expression)), "boolean")

    def inversion(self, node: exp.Expression) -> Final:
        return Call("not", (self.condition(node.this),), "boolean")

    def null_test(self, node: exp.Expression) -> Final:
        if not isinstance(node.expression, exp.Null):
            raise refuse(node, "only IS NULL and IS NOT NULL are accepted")
        return Call("is_null", (self.translate(node.this),), "boolean")

    def case(self, node: exp.Expression) -> Final:
        is_case = isinstance(node, exp.Case)
        tests: list[Final] = []
        values: list[Final] = []
        for branch in node.args.get("ifs") or [node]:
            test = exp.EQ(this=node.this.copy(), expression=branch.this) if is_case and node.this else branch.this
            tests.append(self.condition(test))
            values.append(self.translate(branch.args["true"]))
        default = node.args.get("default" if is_case else "false")
        values.append(self.translate(default) if default is not None else _NULL)
        values, type_ = self.unify(node, values)
        pairs = [part for pair in zip(tests, values[:-1], strict=True) for part in pair]
        return Call("case", (*pairs, values[-1]), type_)

    def first_of(self, node: exp.Expression) -> Final:
        values, type_ = self.unify(node, [self.translate(part) for part in (node.this, *node.expressions)])
        if len(values) < 2 and not isinstance(node, exp.Coalesce):
            raise refuse(node, f"{describe(node)} takes two values or more")
        return Call(type(node).__name__.lower(), tuple(values), type_)

    def null_if(self, node: exp.Expression) -> Final:
        value, other = self.translate(node.this), self.translate(node.expression)
        self.unify(node, [value, other])
        return Call("nullif", (value, other), value.type)

    def rounding(self, node: exp.Expression) -> Final:
        value, places = self.number(node.this), node.args.get("decimals")
        digits = number_of(places) if isinstance(places, exp.Literal) and not places.is_string else 0
        if (places is not None and not isinstance(places, exp.Literal)) or digits not in range(16):
            raise refuse(node, "ROUND takes a constant number of places from 0 to 15")
        return Call("round", (value, Constant(digits, "long", str(digits))), value.type)

    def function(self, node: exp.Expression) -> Final:
        value = self.number(node.this)
        if isinstance(node, exp.Sqrt):
            return Call("sqrt", (value,), "double")
        kind = "long" if value.type == "long" else "double"
        return Call(f"abs_{kind}", (value,), kind)

    def cast(self, node: exp.Expression) -> Final:
        operation = _CASTS.get(node.args["to"].this.name)
        if operation is None:
            raise refuse(node, f"cannot cast to {node.args['to'].sql(dialect='spark')}")
        return Call(operation, (self.number(node.this),), operation.removeprefix("to_"))

    def nested(self, node: exp.Expression) -> Final:
        return self.translate(node.this)

    def unify(self, node: exp.Expression, values: list[Final]) -> tuple[list[Final], str]:
        """Values of one type: mixed numbers become doubles; anything else mixed is refused."""
        types = {value.type for value in values} - {"null"}
        if len(types) > 1 and all(is_numeric(type_) for type_ in types):
            return [v if v.type == "null" else Call("to_double", (v,), "double") for v in values], "double"
        if len(types) > 1:
            raise refuse(node, f"values of different types: {', '.join(sorted(types))}")
        return values, types.pop() if types else "null"


_HANDLERS: dict[type[exp.Expression], Callable[[OutputTranslator, exp.Expression], Final]] = {
    **dict.fromkeys((exp.Literal, exp.Boolean, exp.Null), OutputTranslator.constant),
    exp.Column: OutputTranslator.column,
    exp.Anonymous: OutputTranslator.named,
    exp.Paren: OutputTranslator.nested,
    **dict.fromkeys(_ARITHMETIC, OutputTranslator.arithmetic),
    exp.Div: OutputTranslator.division,
    exp.Neg: OutputTranslator.negation,
    **dict.fromkeys(COMPARISONS, OutputTranslator.comparison),
    exp.And: OutputTranslator.logic,
    exp.Or: OutputTranslator.logic,
    exp.Not: OutputTranslator.inversion,
    exp.Is: OutputTranslator.null_test,
    exp.Case: OutputTranslator.case,
    exp.If: OutputTranslator.case,
    **dict.fromkeys((exp.Coalesce, exp.Greatest, exp.Least), OutputTranslator.first_of),
    exp.Nullif: OutputTranslator.null_if,
    exp.Round: OutputTranslator.rounding,
    exp.Abs: OutputTranslator.function,
    exp.Sqrt: OutputTranslator.function,
    exp.Cast: OutputTranslator.cast,
    exp.TryCast: OutputTranslator.cast,
}
