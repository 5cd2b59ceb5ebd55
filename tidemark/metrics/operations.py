"""What finalise expressions compute with: each operation once, as Python over values and as Spark SQL over texts.

NULL semantics are SQL's: NULL in, NULL out, unless the operation is about NULL; division by zero is NULL in both forms.
"""

import math
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

Value = Any
"""int | float | str | bool | None"""


def _strict(function: Callable[..., Value]) -> Callable[[Sequence[Value]], Value]:
    """NULL in, NULL out; a result that no 64-bit double holds is NULL too."""

    def apply(values: Sequence[Value]) -> Value:
        if any(value is None for value in values):
            return None
        try:
            return function(*values)
        except (OverflowError, ZeroDivisionError, ValueError):
            return None

    return apply


def _and(values: Sequence[Value]) -> Value:
    return False if False in values else None if None in values else True


def _or(values: Sequence[Value]) -> Value:
    return True if True in values else None if None in values else False


def _present(values: Sequence[Value]) -> list[Value]:
    return [value for value in values if value is not None]


def _case(values: Sequence[Value]) -> Value:
    for test, value in zip(values[:-1:2], values[1::2], strict=True):
        if test is True:
            return value
    return values[-1]


def _case_sql(parts: Sequence[str]) -> str:
    whens = " ".join(f"WHEN {t} THEN {v}" for t, v in zip(parts[:-1:2], parts[1::2], strict=True))
    return f"CASE {whens} ELSE {parts[-1]} END"


_WIDE = Context(prec=400)
"""Digits enough for any double with fifteen places."""


def _round(value: Value, places: int) -> Value:
    if isinstance(value, int) or not math.isfinite(value):
        return value
    return float(Decimal(repr(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _WIDE))


def _mod_long(value: int, divisor: int) -> int:
    """The remainder has the sign of the dividend, as in Spark."""
    remainder = abs(value) % abs(divisor)
    return -remainder if value < 0 else remainder


def _long(value: Value) -> Value:
    """Within 64 bits, else NULL: what Spark's try_ forms give."""
    return value if -(2**63) <= value < 2**63 else None


def _abs_sql(parts: Sequence[str]) -> str:
    """try_subtract: the smallest long has no opposite, and abs() would stop the batch for it."""
    return f"IF({parts[0]} < 0, try_subtract(0, {parts[0]}), {parts[0]})"


def _sql(template: str) -> Callable[[Sequence[str]], str]:
    return lambda parts: template.format(*parts)


def _list(function: str) -> Callable[[Sequence[str]], str]:
    return lambda parts: f"{function}({', '.join(parts)})"


OPERATIONS: dict[str, tuple[Callable[[Sequence[Value]], Value], Callable[[Sequence[str]], str]]] = {
    "add_long": (_strict(lambda a, b: _long(a + b)), _sql("try_add({0}, {1})")),
    "subtract_long": (_strict(lambda a, b: _long(a - b)), _sql("try_subtract({0}, {1})")),
    "multiply_long": (_strict(lambda a, b: _long(a * b)), _sql("try_multiply({0}, {1})")),
    "mod_long": (_strict(_mod_long), _sql("try_mod({0}, {1})")),
    "add_double": (_strict(lambda a, b: float(a) + float(b)), _sql("(CAST({0} AS DOUBLE) + CAST({1} AS DOUBLE))")),
    "subtract_double": (_strict(lambda a, b: float(a) - b), _sql("(CAST({0} AS DOUBLE) - CAST({1} AS DOUBLE))")),
    "multiply_double": (_strict(lambda a, b: float(a) * b), _sql("(CAST({0} AS DOUBLE) * CAST({1} AS DOUBLE))")),
    "mod_double": (_strict(math.fmod), _sql("try_mod(CAST({0} AS DOUBLE), CAST({1} AS DOUBLE))")),
    "divide": (_strict(lambda a, b: a / b), _sql("try_divide(CAST({0} AS DOUBLE), CAST({1} AS DOUBLE))")),
    "=": (_strict(lambda a, b: a == b), _sql("({0} = {1})")),
    "<>": (_strict(lambda a, b: a != b), _sql("({0} <> {1})")),
    ">": (_strict(lambda a, b: a > b), _sql("({0} > {1})")),
    ">=": (_strict(lambda a, b: a >= b), _sql("({0} >= {1})")),
    "<": (_strict(lambda a, b: a < b), _sql("({0} < {1})")),
    "<=": (_strict(lambda a, b: a <= b), _sql("({0} <= {1})")),
    "and": (_and, _sql("({0} AND {1})")),
    "or": (_or, _sql("({0} OR {1})")),
    "not": (_strict(lambda a: not a), _sql("(NOT {0})")),
    "is_null": (lambda values: values[0] is None, _sql("({0} IS NULL)")),
    "coalesce": (lambda values: next(iter(_present(values)), None), _list("coalesce")),
    "greatest": (lambda values: max(_present(values), default=None), _list("greatest")),
    "least": (lambda values: min(_present(values), default=None), _list("least")),
    "nullif": (lambda values: None if values[0] == values[1] else values[0], _sql("nullif({0}, {1})")),
    "case": (_case, _case_sql),
    "round": (_strict(_round), _sql("round({0}, {1})")),
    "abs_long": (_strict(lambda a: _long(abs(a))), _abs_sql),
    "abs_double": (_strict(abs), _sql("abs({0})")),
    "sqrt": (_strict(lambda a: math.sqrt(a) if a >= 0 else None), _sql("IF({0} >= 0, sqrt({0}), NULL)")),
    "to_double": (_strict(float), _sql("CAST({0} AS DOUBLE)")),
    "to_long": (_strict(lambda a: _long(int(a))), _sql("try_cast({0} AS BIGINT)")),
}
"""name → (Python over values, Spark SQL over texts)."""
