"""The fields of a contract: types, row rules, and how they are read from YAML. Each is checked once, here."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from tidemark.errors import ContractError
from tidemark.patterns import common_pattern

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
RESERVED = frozenset(
    {"raw", "raw_bytes", "received_at", "source", "source_partition", "source_offset", "contract_version", "reasons"}
    | {"payload_hash", "ingest_date", "event_date"}
)
"""Columns that the lake adds; no field of a contract may bear such a name."""
KINDS = ("string", "long", "double", "boolean", "timestamp", "decimal", "map<string,string>", "struct")
PSEUDONYMISE = "pseudonymise"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_DECIMAL = re.compile(r"decimal\((\d{1,2}),(\d{1,2})\)", re.ASCII)
_SPARK = {"long": "BIGINT", "map<string,string>": "MAP<STRING,STRING>"}

Bound = int | float | Decimal | None


@dataclass(frozen=True, slots=True)
class FieldType:
    """`str(type)` is the word used in contracts: `long`, `decimal(10,2)`, `struct`."""

    kind: str
    precision: int = 0
    scale: int = 0

    def __str__(self) -> str:
        return f"decimal({self.precision},{self.scale})" if self.kind == "decimal" else self.kind

    def widens(self, older: "FieldType") -> bool:
        """Whether every value of `older` can be kept as a value of this type."""
        if self.kind == "decimal" == older.kind:
            return self.scale >= older.scale and self.precision - self.scale >= older.precision - older.scale
        return self == older or (self.kind, older.kind) == ("double", "long")


@dataclass(frozen=True, slots=True)
class Rules:
    """Row rules of a field; None = no such rule. Bounds are inclusive, an open side is None. Length in code points."""

    length: tuple[int, int] | None = None
    matches: str | None = None
    between: tuple[Bound, Bound] | None = None
    one_of: tuple[str | int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One field; `fields` are those of a struct, otherwise empty."""

    name: str
    type: FieldType
    required: bool = False
    rules: Rules = field(default_factory=Rules)
    pii: str | None = None
    fields: tuple["Field", ...] = ()

    @property
    def spark_type(self) -> str:
        """Its type in Spark's DDL."""
        if self.type.kind == "struct":
            return f"STRUCT<{', '.join(f'`{child.name}`: {child.spark_type}' for child in self.fields)}>"
        return _SPARK.get(self.type.kind, str(self.type).upper())


def read_fields(given: object, where: str, nested: bool = False) -> tuple[Field, ...]:
    """Fields from their YAML mapping. ContractError names `where` and the field."""
    if not isinstance(given, Mapping) or not given:
        raise ContractError(f"{where}: fields must be a mapping with at least one field")
    seen: set[str] = set()
    for name in given:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ContractError(f"{where}: {name!r} is not a field name (letters, digits, _; at most 64)")
        if name.lower() in seen or (not nested and name.lower() in RESERVED):
            why = "differs from another only by case" if name.lower() in seen else "is a column of the lake"
            raise ContractError(f"{where}: field {name!r} {why}")
        seen.add(name.lower())
    return tuple(_read_field(name, spec, f"{where}: field {name!r}", nested) for name, spec in given.items())


def _read_field(name: str, spec: object, where: str, nested: bool) -> Field:
    if not isinstance(spec, Mapping):
        raise ContractError(f"{where} must be a mapping such as {{type: string, required: true}}")
    refuse_unknown(spec, {"type", "required", "rules", "pii", "fields"}, where)
    type_ = _read_type(spec.get("type"), where)
    required = spec.get("required", False)
    if not isinstance(required, bool):
        raise ContractError(f"{where}: required must be true or false")
    if (type_.kind == "struct") != ("fields" in spec) or (nested and type_.kind == "struct"):
        raise ContractError(f"{where}: a struct needs `fields`, nothing else has them, and structs do not nest")
    pii = spec.get("pii")
    if pii is not None and (pii != PSEUDONYMISE or type_.kind != "string" or nested):
        raise ContractError(f"{where}: pii can only be {PSEUDONYMISE!r}, on a string outside a struct")
    children = read_fields(spec["fields"], where, nested=True) if type_.kind == "struct" else ()
    return Field(name, type_, required, _read_rules(spec.get("rules", {}), type_, where), pii, children)


def _read_type(text: object, where: str) -> FieldType:
    compact = re.sub(r"\s", "", text) if isinstance(text, str) else ""
    found = _DECIMAL.fullmatch(compact)
    if found:
        precision, scale = int(found[1]), int(found[2])
        if not 1 <= precision <= 18 or scale > precision:
            raise ContractError(f"{where}: decimal(p,s) needs 1 <= p <= 18 and s <= p")
        return FieldType("decimal", precision, scale)
    if compact not in KINDS or compact == "decimal":
        raise ContractError(f"{where}: type {text!r} is none of {', '.join(KINDS).replace('decimal', 'decimal(p,s)')}")
    return FieldType(compact)


def _read_rules(given: object, type_: FieldType, where: str) -> Rules:
    if not isinstance(given, Mapping):
        raise ContractError(f"{where}: rules must be a mapping")
    refuse_unknown(given, {"length", "matches", "between", "in"}, where)
    kinds = {
        "length": {"string"},
        "matches": {"string"},
        "between": {"long", "double", "decimal"},
        "in": {"string", "long"},
    }
    for rule in given:
        if type_.kind not in kinds[rule]:
            raise ContractError(f"{where}: rule {rule!r} does not apply to {type_}")
    pattern = given.get("matches")
    if "matches" in given and not isinstance(pattern, str):
        raise ContractError(f"{where}: matches must be a regular expression")
    return Rules(
        length=_read_length(given["length"], where) if "length" in given else None,
        matches=common_pattern(pattern, f"{where}: matches") if isinstance(pattern, str) else None,
        between=_read_between(given["between"], type_, where) if "between" in given else None,
        one_of=_read_one_of(given["in"], type_, where) if "in" in given else None,
    )


def _read_length(pair: object, where: str) -> tuple[int, int]:
    match pair:
        case [int(low), int(high)] if not isinstance(low, bool) and not isinstance(high, bool) and 0 <= low <= high:
            return low, high
    raise ContractError(f"{where}: length must be [least, most], two whole numbers")


def _read_between(pair: object, type_: FieldType, where: str) -> tuple[Bound, Bound]:
    if not isinstance(pair, list) or len(pair) != 2 or pair == [None, None]:
        raise ContractError(f"{where}: between must be [least, most], one of them may be null")
    low, high = (None if bound is None else _read_bound(bound, type_, where) for bound in pair)
    if low is not None and high is not None and low > high:
        raise ContractError(f"{where}: between [{low}, {high}] admits nothing")
    return low, high


def _read_bound(bound: object, type_: FieldType, where: str) -> int | float | Decimal:
    if (
        type_.kind == "long"
        and isinstance(bound, int)
        and not isinstance(bound, bool)
        and INT64_MIN <= bound <= INT64_MAX
    ):
        return bound
    if isinstance(bound, int | float) and not isinstance(bound, bool) and math.isfinite(bound):
        if type_.kind == "double":
            return float(bound)
        if type_.kind == "decimal":
            return _exact(Decimal(str(bound)), type_, where)
    if type_.kind == "decimal" and isinstance(bound, str):
        try:
            return _exact(Decimal(bound), type_, where)
        except InvalidOperation:
            pass
    raise ContractError(f"{where}: between: {bound!r} is not a {type_}")


def _exact(value: Decimal, type_: FieldType, where: str) -> Decimal:
    if value.is_finite() and abs(value) < 10 ** (type_.precision - type_.scale):
        scaled = value.scaleb(type_.scale)
        if scaled == scaled.to_integral_value():
            return value
    raise ContractError(f"{where}: between: {value} is not a {type_}")


def _read_one_of(values: object, type_: FieldType, where: str) -> tuple[str | int, ...]:
    wanted = str if type_.kind == "string" else int
    if not isinstance(values, list) or not values:
        raise ContractError(f"{where}: in must be a list of values")
    for value in values:
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ContractError(f"{where}: in: {value!r} is not a {type_} (quote words such as yes, no, on)")
        if isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX:
            raise ContractError(f"{where}: in: {value} does not fit a long")
    return tuple(values)


def refuse_unknown(given: Mapping[Any, Any], known: set[str], where: str) -> None:
    """ContractError for the first key that is not `known`."""
    for key in given:
        if key not in known:
            raise ContractError(f"{where}: unknown key {key!r}; known: {', '.join(sorted(known))}")
