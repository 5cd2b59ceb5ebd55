"""The quick check of a parsed event: true only for what is certainly valid; the exact check judges all the rest.

Columns here take the typed event of `json_columns.read_json`. Every condition is true or false, never null.
"""

from collections.abc import Callable
from functools import reduce
from operator import and_

from pyspark.sql import Column
from pyspark.sql import functions as F

from quality.json_columns import last_entries
from quality.json_limits import DECIMAL, FUTURE_S, INSTANT
from tidemark.contracts import Contract, Field
from tidemark.patterns import MAX_TEXT, java_pattern

ANCHORED_INSTANT = rf"\A{INSTANT}\z"
_TO_MINUTES = len("2026-01-01T00:00")
_EXPONENT = "[eE][+-]?[0-9]+"
_REWRITTEN = rf"\A-?[0-9]+(?:\.[0-9]+(?:{_EXPONENT})?|{_EXPONENT})\z"


def is_certainly_valid(contract: Contract, event: Column, text: Column, received_at: Column) -> Column:
    """Whether the event breaks no rule and no string of it can have been another JSON value."""
    checks = [_is_valid(field, event[field.name], text) for field in contract.fields]
    in_time = ~is_future(instant(event[contract.event_time]), received_at)
    return reduce(and_, [*checks, F.coalesce(in_time, F.lit(False))])


def keeps_rules(field: Field, value: Column) -> dict[str, Column]:
    """Row rule → whether a value of the field's own type keeps it; null for null."""
    rules, found = field.rules, {}
    if rules.length is not None:
        found["length"] = F.length(value).between(*rules.length)
    if rules.matches is not None:
        pattern = java_pattern(rules.matches)
        found["matches"] = F.when(F.length(value) > MAX_TEXT, F.lit(False)).otherwise(value.rlike(pattern))
    if rules.between is not None:
        low, high = rules.between
        bounds = ([] if low is None else [value >= low]) + ([] if high is None else [value <= high])
        found["between"] = reduce(and_, bounds)
    if rules.one_of is not None:
        found["in"] = value.isin(*rules.one_of)
    return found


def instant(text: Column) -> Column:
    """The instant that a text names, null when it is not ISO 8601 with a zone. Spark, unlike ISO, wants seconds."""
    with_seconds = F.concat(F.substring(text, 1, _TO_MINUTES), F.lit(":00"), F.substring(text, _TO_MINUTES + 1, 6))
    moment = F.coalesce(text.try_cast("timestamp"), with_seconds.try_cast("timestamp"))
    return F.when(text.rlike(ANCHORED_INSTANT), moment)


def is_future(event_time: Column, received_at: Column) -> Column:
    """Whether an event claims to be from further ahead than clocks differ."""
    return event_time > received_at + F.expr(f"INTERVAL {FUTURE_S} SECONDS")


def typed_value(field: Field, value: Column) -> Column:
    """A parsed value as a value of the field's type; null where it is none. Structs and maps are made whole."""
    match field.type.kind:
        case "timestamp":
            return instant(value)
        case "decimal":
            text = F.try_variant_get(value, "$", "string")
            return F.when(_is_plain_decimal(value, text), text.try_cast(str(field.type)))
        case "struct" if any(child.type.kind in ("timestamp", "decimal") for child in field.fields):
            children = [typed_value(child, value[child.name]).alias(child.name) for child in field.fields]
            return F.when(value.isNotNull(), F.struct(*children))
        case "map<string,string>":
            repeated = F.size(F.array_distinct(F.map_keys(value))) < F.size(F.map_keys(value))
            return F.when(repeated, F.map_from_entries(last_entries(value))).otherwise(value)
    return value


def _is_valid(field: Field, value: Column, text: Column) -> Column:
    typed = _KINDS.get(field.type.kind, _any_value)(field, value, text)
    kept = [typed, *keeps_rules(field, typed_value(field, value)).values()]
    absent = F.lit(False) if field.required else value.isNull()
    return F.coalesce(absent | reduce(and_, kept), F.lit(False))


def _any_value(field: Field, value: Column, text: Column) -> Column:
    return value.isNotNull()


def _string(field: Field, value: Column, text: Column) -> Column:
    return value.isNotNull() & ~_may_be_literal(value, text)


def _double(field: Field, value: Column, text: Column) -> Column:
    return (value < F.lit(float("inf"))) & (value > F.lit(float("-inf")))


def _converted(field: Field, value: Column, text: Column) -> Column:
    return typed_value(field, value).isNotNull()


def _decimal(field: Field, value: Column, text: Column) -> Column:
    """Only what needs no rounding; `1.50` as a decimal(2,1) is left to the exact check."""
    scale, whole = field.type.scale, field.type.precision - field.type.scale
    fraction = rf"(?:\.[0-9]{{1,{scale}}})?" if scale else ""
    digits = rf"(?:0|[1-9][0-9]{{0,{whole - 1}}})" if whole else "0"
    exact = F.try_variant_get(value, "$", "string").rlike(rf"\A-?{digits}{fraction}\z")
    return exact & typed_value(field, value).isNotNull()


def _map(field: Field, value: Column, text: Column) -> Column:
    literal = F.exists(F.map_values(value), lambda one: F.coalesce(_may_be_literal(one, text), F.lit(False)))
    return value.isNotNull() & ~literal


def _struct(field: Field, value: Column, text: Column) -> Column:
    children = [_is_valid(child, value[child.name], text) for child in field.fields]
    return value.isNotNull() & reduce(and_, children)


_KINDS: dict[str, Callable[[Field, Column, Column], Column]] = {
    "string": _string,
    "double": _double,
    "timestamp": _converted,
    "decimal": _decimal,
    "map<string,string>": _map,
    "struct": _struct,
}


def _may_be_literal(value: Column, text: Column) -> Column:
    """Whether a string read from JSON may have been a number, boolean, object or array there.

    `5` cannot have been a bare 5 when no 5 in the record follows a colon or white space. A number with a fraction or
    exponent, which is rewritten when read as a string, and what looks like an object or array, always may. `1.4.2` and
    `10.0.0.1` are no numbers.
    """
    bare = [F.contains(text, F.concat(F.lit(before), value)) for before in (":", " ", "\n", "\t", "\r")]
    plain = (value >= "-") & (value < ":") & value.rlike(r"\A-?[0-9]+\z")
    rewritten = (value >= "-") & (value < ":") & value.rlike(_REWRITTEN)
    composite = ((value >= "[") & (value < "\\")) | ((value >= "{") & (value < "|"))
    word = value.isin("true", "false")
    infinite = value.isin('"Infinity"', '"-Infinity"')
    return composite | rewritten | infinite | ((plain | word) & (reduce(lambda a, b: a | b, bare) | (value == "0")))


def _is_plain_decimal(value: Column, text: Column) -> Column:
    kind = F.schema_of_variant(value)
    return (kind.startswith("DECIMAL") | kind.isin("BIGINT", "STRING")) & text.rlike(rf"\A{DECIMAL}\z")
