"""The check of one record, which says what is valid and why something is not: for the API's ingest, and in the stream
for all that the quick check is not certain of. A contract is compiled once into closures."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from quality.json_limits import DECIMAL, FUTURE_S, INSTANT, MAX_DECIMAL_DIGITS
from quality.json_text import Fraction, JsonReader, Unreadable
from quality.masking import pseudonym
from tidemark.contracts import VERSION_FIELD, ContractSet, Field
from tidemark.fields import INT64_MAX, INT64_MIN
from tidemark.patterns import MAX_TEXT, compiled

_INSTANT, _DECIMAL = re.compile(INSTANT), re.compile(DECIMAL)
_FUTURE = timedelta(seconds=FUTURE_S)

Reader = Callable[[Any], tuple[Any, str | None]]
"""JSON value → (typed value, None) or (anything, code)."""
Check = Callable[[dict[str, Any], list[str]], Any]
"""(object, reasons to add to) → typed value of one field, None where there is none."""


@dataclass(frozen=True, slots=True)
class CheckedRecord:
    """`event` has every column of the contract, typed, when there are no `reasons`; otherwise it is None."""

    event: dict[str, Any] | None
    reasons: tuple[str, ...]
    contract_version: int | None


class RecordCheck:
    """The compiled check of one contract."""

    def __init__(self, contract_set: ContractSet) -> None:
        versions = contract_set.versions
        exact = any(field.type.kind == "decimal" for one in versions for field in _all_fields(one.fields))
        self._reader = JsonReader(exact)
        self._checks = {one.version: [(f.name, _field_check(f, f.name)) for f in one.fields] for one in versions}
        self._newest = contract_set.newest
        self._columns = contract_set.columns
        self._masked = [field.name for field in contract_set.columns if field.pii]

    def check(self, raw: bytes, now: datetime, pseudonym_key: str | None = None) -> CheckedRecord:
        """The typed event, or every reason, sorted. Personal fields are masked when a key is given."""
        try:
            given = self._reader.read(raw)
        except Unreadable as unreadable:
            return CheckedRecord(None, (str(unreadable),), None)
        version = given.get(VERSION_FIELD)
        version = self._newest.version if version is None else version
        if type(version) is not int or version not in self._checks:
            return CheckedRecord(None, ("version:unknown",), None)
        reasons: list[str] = []
        event = {name: check(given, reasons) for name, check in self._checks[version]}
        moment = event[self._newest.event_time]
        if moment is not None and moment - now > _FUTURE:
            reasons.append(f"{self._newest.event_time}:future")
        if reasons:
            return CheckedRecord(None, tuple(sorted(reasons)), version)
        return CheckedRecord(self._as_columns(event, pseudonym_key), (), version)

    def _as_columns(self, event: dict[str, Any], key: str | None) -> dict[str, Any]:
        columns = {field.name: _widened(field, event.get(field.name)) for field in self._columns}
        if key is not None:
            for name in self._masked:
                if columns[name] is not None:
                    columns[name] = pseudonym(key, columns[name])
        return columns


_compiled: dict[int, tuple[ContractSet, RecordCheck]] = {}


def check_record(
    contract_set: ContractSet, raw: bytes, now: datetime, pseudonym_key: str | None = None
) -> CheckedRecord:
    """`RecordCheck.check` with the contract compiled at its first use; `now` is the arrival, aware."""
    known = _compiled.get(id(contract_set))
    if known is None:
        known = _compiled[id(contract_set)] = contract_set, RecordCheck(contract_set)
    return known[1].check(raw, now, pseudonym_key)


def _all_fields(fields: tuple[Field, ...]) -> list[Field]:
    return [inner for field in fields for inner in (field, *_all_fields(field.fields))]


def _field_check(field: Field, path: str) -> Check:
    name, required = field.name, field.required
    read = _struct_reader if field.type.kind == "struct" else _READERS.get(field.type.kind)
    rules = _rule_checks(field, path)
    children = [(child.name, _field_check(child, f"{path}.{child.name}")) for child in field.fields]
    typed = read or _decimal_reader(field)

    def check(given: dict[str, Any], reasons: list[str]) -> Any:
        value = given.get(name)
        if value is None:
            if required:
                reasons.append(f"{path}:missing")
            return None
        value, code = typed(value)
        if code is not None:
            reasons.append(f"{path}:{code}")
            return None
        for reason, keeps in rules:
            if not keeps(value):
                reasons.append(reason)
        return {child: inner(value, reasons) for child, inner in children} if children else value

    return check


def _rule_checks(field: Field, path: str) -> list[tuple[str, Callable[[Any], bool]]]:
    rules, found = field.rules, list[tuple[str, Callable[[Any], bool]]]()
    if rules.length is not None:
        least, most = rules.length
        found.append((f"{path}:length", lambda value: least <= len(value) <= most))
    if rules.matches is not None:
        whole = compiled(rules.matches).fullmatch
        found.append((f"{path}:matches", lambda value: len(value) <= MAX_TEXT and whole(value) is not None))
    if rules.between is not None:
        low, high = rules.between
        found.append((f"{path}:between", lambda v: (low is None or v >= low) and (high is None or v <= high)))
    if rules.one_of is not None:
        allowed = frozenset(rules.one_of)
        found.append((f"{path}:in", lambda value: value in allowed))
    return found


def _string(value: Any) -> tuple[Any, str | None]:
    return value, None if type(value) is str else "type"


def _long(value: Any) -> tuple[Any, str | None]:
    if type(value) is not int:
        return None, "type"
    return value, None if INT64_MIN <= value <= INT64_MAX else "overflow"


def _double(value: Any) -> tuple[Any, str | None]:
    if type(value) not in (float, int, Fraction):
        return None, "type"
    try:
        number = float(value)
    except OverflowError:
        return None, "not_finite"
    return number, None if math.isfinite(number) else "not_finite"


def _boolean(value: Any) -> tuple[Any, str | None]:
    return value, None if type(value) is bool else "type"


def _timestamp(value: Any) -> tuple[Any, str | None]:
    if type(value) is not str:
        return None, "type"
    if _INSTANT.fullmatch(value):
        try:
            return datetime.fromisoformat(value).astimezone(UTC), None
        except ValueError:
            pass
    return None, "format"


def _string_map(value: Any) -> tuple[Any, str | None]:
    strings = type(value) is dict and all(one is None or type(one) is str for one in value.values())
    return value, None if strings else "type"


def _struct_reader(value: Any) -> tuple[Any, str | None]:
    return value, None if type(value) is dict else "type"


def _decimal_reader(field: Field) -> Reader:
    scale, whole_digits = field.type.scale, field.type.precision - field.type.scale

    def read(value: Any) -> tuple[Any, str | None]:
        if type(value) not in (str, int, Fraction) or not _DECIMAL.fullmatch(str(value)):
            return None, "type"
        whole, _, fraction = str(value).removeprefix("-").partition(".")
        if len(fraction) > MAX_DECIMAL_DIGITS or len((whole + fraction).lstrip("0")) > MAX_DECIMAL_DIGITS:
            return None, "type"
        if len(fraction.rstrip("0")) > scale:
            return None, "type"
        return Decimal(str(value)), "overflow" if len(whole.lstrip("0")) > whole_digits else None

    return read


_READERS: dict[str, Reader] = {
    "string": _string,
    "long": _long,
    "double": _double,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "map<string,string>": _string_map,
}


def _widened(field: Field, value: Any) -> Any:
    if field.type.kind == "double" and value is not None:
        return float(value)
    if field.type.kind == "struct" and value is not None:
        return {child.name: _widened(child, value.get(child.name)) for child in field.fields}
    return value
