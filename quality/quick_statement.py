"""The statement of the quick check: a version of a contract, as SQL for DuckDB."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

from quality.json_limits import FUTURE_S, MAX_DECIMAL_DIGITS, MAX_DEPTH, MAX_NUMBER_CHARS
from tidemark.contracts import PSEUDONYMISE, VERSION_FIELD, Contract, Field, FieldType
from tidemark.fields import Bound, Rules
from tidemark.patterns import MAX_TEXT

ROW = "~row"
"""Name of the number of the record in what the statement gives."""

_SPACE = r"[ \t\r\n]*"
_COMMA_TOO_MANY = rf",{_SPACE}[}}\]]"
_NOT_FINITE = rf"[:,\[]{_SPACE}[-+]?(?:[iI]|[nN][aA])"
_INSTANT = (
    r"[1-8][0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]"
    r"(?::[0-5][0-9](?:\.[0-9]{1,9})?)?(?:Z|[+-](?:0[0-9]|1[0-7]):[0-5][0-9])"
)
_WHOLE = ("UBIGINT", "BIGINT")
_KINDS = {
    "string": ("VARCHAR",),
    "long": _WHOLE,
    "double": ("DOUBLE", *_WHOLE),
    "boolean": ("BOOLEAN",),
    "timestamp": ("VARCHAR",),
    # A number with a fraction is read as a float, and no longer says how many digits it had.
    "decimal": ("VARCHAR", *_WHOLE),
    "map<string,string>": ("OBJECT",),
    "struct": ("OBJECT",),
}
"""Kind of field → what DuckDB calls a JSON value that is one."""
_SQL_TYPES = {
    "string": "VARCHAR",
    "long": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
    "map<string,string>": "MAP(VARCHAR, VARCHAR)",
}
_READ_AS = {"timestamp": "VARCHAR", "decimal": "VARCHAR"}


class Unsupported(Exception):
    """The quick check has no words for something in the contract: all of its records are judged one by one."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A field within the event. `kind`: SQL of its JSON type, null where it is absent. `value`: SQL of the value as it
    was read, `typed` as the field's type."""

    field: Field
    kind: str
    value: str
    typed: str
    children: tuple["_Place", ...] = ()

    @property
    def is_absent(self) -> str:
        return f"({self.kind} IS NULL OR {self.kind} = 'NULL')"

    @property
    def is_kind(self) -> str:
        return f"{self.kind} IN ({', '.join(map(_text, _KINDS[self.field.type.kind]))})"


class Statement:
    """The statement over `records`, in steps: every value's JSON type, the values, the values as their own types."""

    def __init__(self, contract: Contract, *, is_newest: bool) -> None:
        self._contract = contract
        self._is_newest = is_newest
        self._paths: list[str] = []
        self._objects: list[tuple[str, int, int]] = []
        """Path of an object, and the numbers of the first and last of its fields among `_paths`."""
        self._casts: list[str] = []
        selector = Field(VERSION_FIELD, FieldType("long"))
        declared = [field for field in contract.fields if field.name != VERSION_FIELD]
        self._places = {place.field.name: place for place in self._lay_out((*declared, selector), "$", "event")}

    def _lay_out(self, fields: Sequence[Field], path: str, value: str) -> tuple[_Place, ...]:
        first = len(self._paths) + 1
        self._paths += [f"{path}.{field.name}" for field in fields]
        self._objects.append((path, first, len(self._paths)))
        return tuple(self._place(field, number, path, value) for number, field in enumerate(fields, first))

    def _place(self, field: Field, number: int, path: str, value: str) -> _Place:
        own = typed = f'{value}."{field.name}"'
        children = self._lay_out(field.fields, f"{path}.{field.name}", own) if field.type.kind == "struct" else ()
        if field.type.kind in _READ_AS:
            self._casts.append(f"try_cast({own} AS {_sql_type(field)}) AS typed{number}")
            typed = f"typed{number}"
        return _Place(field, f"kind[{number}]", own, typed, children)

    def text(self, columns: Sequence[Field]) -> str:
        """The whole statement."""
        maps = [f"$.{field.name}" for field in self._contract.fields if field.type.kind.startswith("map")]
        objects = [path for path, _, _ in self._objects] + maps
        map_keys = [f"keys[{number}]" for number in range(len(self._objects) + 1, len(objects) + 1)]
        no_key_twice = [f"({keys} IS NULL OR {_is_distinct(keys)})" for keys in map_keys]
        selected = [f"{self._column(column)} AS {_name(column.name)}" for column in columns]
        structure = _structure(place.field for place in self._places.values() if self._is_read(place, columns))
        return f"""
            WITH kinds AS (
                SELECT "row", received_at, text, json_type(text, {_texts(self._paths)}) AS kind,
                       json_keys(text, {_texts(objects)}) AS keys
                FROM records
                WHERE json_valid(text) AND NOT contains(text, '\\u') AND NOT regexp_matches(text, '{_COMMA_TOO_MANY}')
            ), events AS (
                SELECT "row", received_at, text, kind, from_json(text, {_text(structure)}) AS event
                FROM kinds WHERE {_all([*self._object_conditions(), *no_key_twice])}
            ), typed AS (
                SELECT {", ".join(["*", *self._casts])} FROM events
            )
            SELECT {", ".join([f'"row" AS {_name(ROW)}', *selected])}
            FROM typed WHERE {_all(self._event_conditions())}
        """

    def _is_read(self, place: _Place, columns: Sequence[Field]) -> bool:
        """Of most texts that nobody wants it is enough to know that they are texts."""
        field = place.field
        return field.type.kind not in ("string", "boolean") or field.rules != Rules() or field.name in _names(columns)

    def _object_conditions(self) -> Iterator[str]:
        """Of the record's keys: nothing but fields that we know, else none twice and nothing that we would refuse."""
        brackets = "length(text) - length(translate(text, '[{', ''))"
        harmless = (
            f"length(text) <= {MAX_NUMBER_CHARS} AND {brackets} <= {MAX_DEPTH} "
            f"AND NOT regexp_matches(text, '{_NOT_FINITE}')"
        )
        yield "json_type(text) = 'OBJECT'"
        for number, (_, first, last) in enumerate(self._objects, 1):
            keys = f"keys[{number}]"
            known = f"{keys} IS NULL OR len({keys}) = list_count(kind[{first}:{last}])"
            yield f"CASE WHEN {known} THEN true ELSE {harmless} AND {_is_distinct(keys)} END"

    def _event_conditions(self) -> Iterator[str]:
        selector = self._places[VERSION_FIELD]
        named = f"{selector.is_kind} AND {selector.value} = {self._contract.version}"
        yield f"({selector.is_absent} OR {named})" if self._is_newest else f"({named})"
        for field in self._contract.fields:
            yield from _field_conditions(self._places[field.name], field)
        moment = self._places[self._contract.event_time].typed
        yield f"epoch_us({moment}) - epoch_us(received_at) <= {FUTURE_S * 1_000_000}"

    def _column(self, column: Field) -> str:
        if column.name not in _names(self._contract.fields):
            return f"NULL::{_sql_type(column)}"
        value = _widened(self._places[column.name], column)
        return f"sha256($mask || {value})" if column.pii == PSEUDONYMISE else value


def _names(fields: Sequence[Field]) -> set[str]:
    return {field.name for field in fields}


def _field_conditions(place: _Place, field: Field) -> Iterator[str]:
    sound = [place.is_kind, *_value_conditions(place)]
    for child in place.children:
        sound += _field_conditions(child, child.field)
    yield _all(sound) if field.required else f"({place.is_absent} OR ({_all(sound)}))"


def _value_conditions(place: _Place) -> Iterator[str]:
    """What must hold of a value whose JSON type is right."""
    field, typed = place.field, place.typed
    match field.type.kind:
        case "long":
            yield f"{typed} IS NOT NULL"
        case "double":
            yield f"isfinite({typed}) AND length(text) <= {MAX_NUMBER_CHARS}"
        case "timestamp":
            yield f"regexp_full_match({place.value}, '{_INSTANT}') AND {typed} IS NOT NULL"
        case "decimal":
            yield f"regexp_full_match({place.value}, '{_decimal_pattern(field.type)}') AND {typed} IS NOT NULL"
        case "map<string,string>":
            kinds = f"json_type(text, {_text(f'$.{field.name}.*')})"
            yield f"{typed} IS NOT NULL AND len(list_filter({kinds}, lambda one: one NOT IN ('VARCHAR', 'NULL'))) = 0"
    yield from _rule_conditions(field, typed)


def _rule_conditions(field: Field, typed: str) -> Iterator[str]:
    rules = field.rules
    if rules.length is not None:
        yield f"length({typed}) BETWEEN {rules.length[0]} AND {rules.length[1]}"
    if rules.matches is not None:
        yield f"length({typed}) <= {MAX_TEXT} AND regexp_full_match({typed}, {_text(rules.matches)}, 's')"
    if rules.one_of is not None:
        allowed = ", ".join(str(one) if isinstance(one, int) else _text(one) for one in rules.one_of)
        yield f"{typed} IN ({allowed})"
    if rules.between is not None:
        low, high = rules.between
        if low is not None:
            yield f"{typed} >= {_bound(field.type, low, upwards=True)}"
        if high is not None:
            yield f"{typed} <= {_bound(field.type, high, upwards=False)}"


def _bound(kind: FieldType, bound: Bound, *, upwards: bool) -> str:
    """The nearest value of the type that is within the bound."""
    exact = Decimal(bound)  # type: ignore[arg-type]  # an open side has no bound
    if kind.kind == "double":
        nearest = float(exact)
        if Decimal(nearest) < exact if upwards else Decimal(nearest) > exact:
            nearest = math.nextafter(nearest, math.inf if upwards else -math.inf)
        return f"'{nearest!r}'::DOUBLE"
    with localcontext(prec=1_000):
        digits = exact.quantize(Decimal(1).scaleb(-kind.scale), ROUND_CEILING if upwards else ROUND_FLOOR)
    if len(digits.as_tuple().digits) > MAX_DECIMAL_DIGITS:
        raise Unsupported(f"the bound {bound} has more digits than a decimal")
    return f"'{digits:f}'::DECIMAL(38, {kind.scale})" if kind.kind == "decimal" else f"{digits:f}"


def _decimal_pattern(kind: FieldType) -> str:
    whole = kind.precision - kind.scale
    fraction = rf"(?:\.[0-9]{{1,{kind.scale}}})?" if kind.scale else ""
    return rf"-?(?:0|[1-9][0-9]{{0,{whole - 1}}}){fraction}" if whole else rf"-?0{fraction}"


def _is_distinct(keys: str) -> str:
    return f"len({keys}) = len(list_distinct({keys}))"


def _widened(place: _Place, column: Field) -> str:
    """SQL of a field's value as the column's type: that of the newest version."""
    if column.type.kind != "struct":
        return place.typed if place.field.type == column.type else f"CAST({place.typed} AS {_sql_type(column)})"
    own = {child.field.name: child for child in place.children}
    children = [
        f"{_name(child.name)} := "
        + (_widened(own[child.name], child) if child.name in own else f"NULL::{_sql_type(child)}")
        for child in column.fields
    ]
    return f"CASE WHEN {place.kind} = 'OBJECT' THEN struct_pack({', '.join(children)}) END"


def _sql_type(field: Field) -> str:
    if field.type.kind == "decimal":
        return f"DECIMAL({field.type.precision}, {field.type.scale})"
    if field.type.kind == "struct":
        return f"STRUCT({', '.join(f'{_name(child.name)} {_sql_type(child)}' for child in field.fields)})"
    return _SQL_TYPES[field.type.kind]


def _structure(fields: Iterator[Field] | Sequence[Field]) -> str:
    """How `from_json` is told what to read. What has a form of its own is read as text."""
    read = (
        f'"{field.name}": '
        + (_structure(field.fields) if field.fields else f'"{_READ_AS.get(field.type.kind) or _sql_type(field)}"')
        for field in fields
    )
    return f"{{{', '.join(read)}}}"


def _all(conditions: Iterator[str] | Sequence[str]) -> str:
    return " AND ".join(conditions)


def _texts(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


def _text(value: str) -> str:
    """A literal."""
    return "'" + value.replace("'", "''") + "'"


def _name(name: str) -> str:
    return f'"{name}"'
