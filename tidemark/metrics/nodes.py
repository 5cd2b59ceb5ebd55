"""SQL nodes as both translators see them: where they stand, what they are called, how one is refused."""

import math
from dataclasses import dataclass

from sqlglot import exp

from tidemark.errors import DefinitionError

COMPARISONS: dict[type[exp.Expression], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
}
"""Accepted at both levels, as Spark writes them."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A translated expression: Spark SQL, its type, and whether it can be NULL."""

    sql: str
    type: str
    nullable: bool = True


def position(node: exp.Expr) -> str:
    """` at line L, column C` of a node or of its first part that knows where it stands."""
    for part in node.walk():
        if "line" in part.meta:
            return f" at line {part.meta['line']}, column {max(part.meta['col'] - _width(part) + 1, 1)}"
    return ""


def _width(node: exp.Expr) -> int:
    return int(node.meta.get("end", 0)) - int(node.meta.get("start", 0)) + 1


def refuse(node: exp.Expr, why: str) -> DefinitionError:
    return DefinitionError(f"{why}{position(node)}")


def describe(node: exp.Expr) -> str:
    """The construct's name as a user would write it."""
    if isinstance(node, exp.Anonymous):
        return f"function {str(node.this).upper()}"
    if isinstance(node, exp.Func):
        return f"function {node.sql_name()}"
    return type(node).__name__.upper()


def as_double(value: Typed) -> str:
    return value.sql if value.type == "double" else f"CAST({value.sql} AS DOUBLE)"


def literal(text: str) -> str:
    """A Spark string literal. Trap: Spark replaces `${env:…}` in SQL text, even inside quotes, so no `$` is left."""
    return exp.Literal.string(text).sql(dialect="spark").replace("$", "\\u0024")


def number_of(node: exp.Expression) -> int | float:
    """The value of a numeric literal that fits a long or a double; DefinitionError otherwise."""
    text = node.name
    if text.isascii() and text.isdigit():
        if len(text) > 40 or int(text) >= 2**63:
            raise refuse(node, f"number {text[:40]} is out of range")
        return int(text)
    value = float(text) if len(text) <= 400 else math.inf
    if not math.isfinite(value):
        raise refuse(node, f"number {text[:40]} is out of range")
    return value


def is_numeric(type_: str) -> bool:
    return type_ in ("long", "double") or type_.startswith("decimal")
