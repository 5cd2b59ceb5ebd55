"""A compiled measure in words: what it accumulates, how two partials merge, how the answer's value comes out."""

from tidemark.metrics.final import (
    AverageOf,
    Call,
    Constant,
    CountOf,
    DistinctOf,
    ExtremeOf,
    Final,
    QuantileOf,
    SpreadOf,
    SumOf,
    WindowHours,
)
from tidemark.metrics.model import Component, Kind

_ACCUMULATES = {
    Kind.COUNT: ("the count, the sum of {sql}", "adding"),
    Kind.SUM_INT: ("the exact sum of {sql}", "adding"),
    Kind.SUM_DOUBLE: ("the sum of {sql}", "adding"),
    Kind.MIN_INT: ("the least {sql}", "the lesser"),
    Kind.MAX_INT: ("the greatest {sql}", "the greater"),
    Kind.MIN_DOUBLE: ("the least {sql}", "the lesser"),
    Kind.MAX_DOUBLE: ("the greatest {sql}", "the greater"),
    Kind.MOMENTS: ("count, mean and squared deviation of {sql}", "the parallel formula of Chan, Golub and LeVeque"),
    Kind.HLL: ("a HyperLogLog sketch of {sql}", "the union of sketches"),
    Kind.KLL: ("a KLL quantile sketch of {sql}", "the union of sketches"),
}
_OPERATORS = {
    "add": "+", "subtract": "-", "multiply": "*", "mod": "%", "divide": "/",
    **{sign: sign for sign in ("=", "<>", ">", ">=", "<", "<=")}, "and": "AND", "or": "OR",
}  # fmt: skip


def explain_component(component: Component, index: int) -> dict[str, str]:
    """Name of the component in `explain_final`, and its accumulate and merge in words."""
    accumulate, merge = _ACCUMULATES[component.kind]
    return {"name": f"c{index}", "accumulate": accumulate.format(sql=component.sql), "merge": merge}


def explain_final(final: Final) -> str:
    """The finalise expression over c0, c1, …"""
    match final:
        case AverageOf():
            return f"c{final.total.index} / c{final.count.index}"
        case SpreadOf():
            return f"{'stddev' if final.root else 'variance'}_{'samp' if final.sample else 'pop'}(c{final.index})"
        case DistinctOf():
            return f"distinct(c{final.index})"
        case QuantileOf():
            return f"quantile(c{final.index}, {final.rank})"
        case CountOf() | SumOf() | ExtremeOf():
            return f"c{final.index}"
        case Constant():
            return "NULL" if final.value is None else str(final.value)
        case WindowHours():
            return "window_hours"
        case Call():
            return _call(final)
    return final.spark_sql


def _call(call: Call) -> str:
    parts = [explain_final(argument) for argument in call.args]
    sign = _OPERATORS.get(call.op.removesuffix("_long").removesuffix("_double"))
    if sign and len(parts) == 2:
        return f"({parts[0]} {sign} {parts[1]})"
    return f"{call.op}({', '.join(parts)})"
