"""Each SQL aggregate once: which components it accumulates, and how they are finalised.

`AVG → (sum, count)`, `VARIANCE → (n, mean, m2)`, approximate distinct → HLL, quantiles → KLL. Equal components are
shared: `AVG(x)` beside `SUM(x)` costs one sum.
"""

import re
from collections.abc import Callable

from sqlglot import exp

from tidemark.metrics.expressions import RowTranslator
from tidemark.metrics.final import AverageOf, CountOf, DistinctOf, ExtremeOf, Final, QuantileOf, SpreadOf, SumOf
from tidemark.metrics.model import Component, Kind
from tidemark.metrics.nodes import Typed, as_double, describe, is_numeric, number_of, refuse


class AggregateBuilder:
    """Collects the components of one metric while its aggregates are translated."""

    def __init__(self, rows: RowTranslator) -> None:
        self._rows = rows
        self.components: list[Component] = []

    def accepts(self, node: exp.Expression) -> bool:
        return isinstance(node, exp.Filter) or type(node) in _AGGREGATES

    def build(self, node: exp.Expression) -> Final:
        """Translate one aggregate call, with or without FILTER; DefinitionError when it cannot be decomposed."""
        filter_: Typed | None = None
        if isinstance(node, exp.Filter):
            filter_ = self._rows.condition(node.expression.this)
            node = node.this
        if type(node) not in _AGGREGATES:
            raise refuse(node, f"{describe(node)} is not an accepted aggregate")
        if isinstance(node.this, exp.Distinct):
            raise refuse(
                node,
                f"{describe(node)}(DISTINCT …) cannot be merged across windows and layers; use APPROX_COUNT_DISTINCT",
            )
        for inner in node.walk():
            if inner is not node and (type(inner) in _AGGREGATES or isinstance(inner, exp.AggFunc)):
                raise refuse(inner, f"{describe(inner)} inside {describe(node)}: aggregates do not nest")
        return _AGGREGATES[type(node)](self, node, filter_)

    def component(self, kind: Kind, sql: str) -> int:
        """Index of the component, shared with an equal one."""
        component = Component(kind, sql)
        if component not in self.components:
            self.components.append(component)
        return self.components.index(component)

    def count(self, node: exp.Expression, filter_: Typed | None) -> Final:
        if node.expressions:
            raise refuse(node, "COUNT takes one argument")
        conditions = [filter_.sql] if filter_ else []
        if not isinstance(node.this, exp.Star):
            value = self._rows.translate(node.this)
            conditions += [f"({value.sql}) IS NOT NULL"] if value.nullable else []
        return self._count_where(conditions)

    def count_if(self, node: exp.Expression, filter_: Typed | None) -> Final:
        condition = self._rows.condition(node.this)
        return self._count_where([*([filter_.sql] if filter_ else []), condition.sql])

    def total(self, node: exp.Expression, filter_: Typed | None) -> Final:
        return self._sum(self._finite(node.this), filter_)

    def average(self, node: exp.Expression, filter_: Typed | None) -> Final:
        value = self._finite(node.this)
        conditions = [filter_.sql] if filter_ else []
        conditions += [f"({value.sql}) IS NOT NULL"] if value.nullable else []
        return AverageOf(self._sum(value, filter_), self._count_where(conditions))

    def extreme(self, node: exp.Expression, filter_: Typed | None) -> Final:
        value = self._rows.translate(node.this)
        if node.expressions:
            raise refuse(node, f"{describe(node)} takes one argument")
        end = "min" if isinstance(node, exp.Min) else "max"
        if value.type == "timestamp":
            value = Typed(f"unix_micros({value.sql})", "timestamp")
        elif not is_numeric(value.type):
            raise refuse(node, f"{describe(node)} takes a number or a timestamp, this is {value.type}")
        whole, scale = _as_whole(value)
        if value.type == "double":
            value = self._finite(node.this)
            kind = Kind.MIN_DOUBLE if end == "min" else Kind.MAX_DOUBLE
            return ExtremeOf(self.component(kind, _filtered(value.sql, filter_)), end, "double")
        kind = Kind.MIN_INT if end == "min" else Kind.MAX_INT
        type_ = "double" if scale else "long" if is_numeric(value.type) else value.type
        return ExtremeOf(self.component(kind, _filtered(whole, filter_)), end, type_, scale)

    def spread(self, node: exp.Expression, filter_: Typed | None) -> Final:
        value = self._finite(node.this)
        index = self.component(Kind.MOMENTS, _filtered(as_double(value), filter_))
        sample = not isinstance(node, (exp.StddevPop, exp.VariancePop))
        return SpreadOf(index, sample, root=isinstance(node, (exp.Stddev, exp.StddevPop, exp.StddevSamp)))

    def distinct(self, node: exp.Expression, filter_: Typed | None) -> Final:
        if node.args.get("accuracy"):
            raise refuse(node, "APPROX_COUNT_DISTINCT takes one argument; its error is fixed (1.6 % at 95 %)")
        value = self._rows.translate(node.this)
        if value.type == "struct" or value.type.startswith("map"):
            raise refuse(node, f"{describe(node)} cannot compare values of type {value.type}")
        # The sketch ignores the empty text, which is a value like any other.
        is_text = value.type == "string"
        sql = f"IF({value.sql} = '', chr(0), {value.sql})" if is_text else f"CAST({value.sql} AS STRING)"
        return DistinctOf(self.component(Kind.HLL, _filtered(sql, filter_)))

    def quantile(self, node: exp.Expression, filter_: Typed | None) -> Final:
        value, rank = self._finite(node.this), node.args["quantile"]
        if not isinstance(rank, exp.Literal) or rank.is_string or not 0 <= number_of(rank) <= 1:
            raise refuse(node, "APPROX_PERCENTILE takes one constant rank between 0 and 1")
        if any(given for name, given in node.args.items() if name not in ("this", "quantile")):
            raise refuse(node, "APPROX_PERCENTILE takes a value and a rank; its accuracy is fixed (0.7 % of rank)")
        index = self.component(Kind.KLL, _filtered(as_double(value), filter_))
        return QuantileOf(index, float(rank.name), "long" if value.type == "long" else "double")

    def _finite(self, node: exp.Expression) -> Typed:
        """A number per event. NaN and infinity, which text and overflow can give, count as NULL: one such event
        would otherwise spoil a window for good. Contracts keep them out of plain columns."""
        value = self._rows.number(node)
        if value.type != "double" or isinstance(node.unnest(), (exp.Column, exp.Literal)):
            return value
        return Typed(f"CASE WHEN abs({value.sql}) < double('Infinity') THEN {value.sql} END", "double")

    def _count_where(self, conditions: list[str]) -> CountOf:
        test = " AND ".join(conditions)
        return CountOf(self.component(Kind.COUNT, f"CASE WHEN {test} THEN 1L ELSE 0L END" if test else "1L"))

    def _sum(self, value: Typed, filter_: Typed | None) -> SumOf:
        if value.type == "double":
            return SumOf(self.component(Kind.SUM_DOUBLE, _filtered(value.sql, filter_)), exact=False)
        whole, scale = _as_whole(value)
        return SumOf(self.component(Kind.SUM_INT, _filtered(whole, filter_)), exact=True, scale=scale)


def _filtered(sql: str, filter_: Typed | None) -> str:
    return f"CASE WHEN {filter_.sql} THEN {sql} END" if filter_ else sql


def _as_whole(value: Typed) -> tuple[str, int]:
    """A decimal as its unscaled integer and scale, so that money sums exactly."""
    decimal = re.fullmatch(r"decimal\((\d+),\s*(\d+)\)", value.type)
    if decimal is None:
        return ("CAST(NULL AS BIGINT)" if value.type == "null" else value.sql), 0
    scale = int(decimal[2])
    return f"CAST({value.sql} * {10**scale}L AS BIGINT)", scale


_AGGREGATES: dict[type[exp.Expression], Callable[[AggregateBuilder, exp.Expression, Typed | None], Final]] = {
    exp.Count: AggregateBuilder.count,
    exp.CountIf: AggregateBuilder.count_if,
    exp.Sum: AggregateBuilder.total,
    exp.Avg: AggregateBuilder.average,
    **dict.fromkeys((exp.Min, exp.Max), AggregateBuilder.extreme),
    **dict.fromkeys(
        (exp.Stddev, exp.StddevSamp, exp.StddevPop, exp.Variance, exp.VariancePop), AggregateBuilder.spread
    ),
    exp.ApproxDistinct: AggregateBuilder.distinct,
    exp.ApproxQuantile: AggregateBuilder.quantile,
}
