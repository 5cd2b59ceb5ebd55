"""A record's bytes → its JSON object, within the limits of `json_limits`."""

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from quality.json_limits import (
    FOREIGN_ESCAPE,
    MAX_DEPTH,
    MAX_KEY_CHARS,
    MAX_NUMBER_CHARS,
    MAX_RECORD_BYTES,
    SURROGATE,
    SURROGATE_PAIR,
)

_PAIR, _SURROGATE, _FOREIGN = re.compile(SURROGATE_PAIR), re.compile(SURROGATE), re.compile(FOREIGN_ESCAPE)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)


class Unreadable(Exception):
    """The record is no JSON object; `str` is the reason."""


class Fraction(str):
    """A number that was written with a fraction or an exponent, as written: decimals need every digit."""

    __slots__ = ()


class JsonReader:
    """Reads records; `exact` keeps numbers with a fraction as `Fraction` instead of float."""

    def __init__(self, exact: bool) -> None:
        fraction: Callable[[str], float | Fraction] = Fraction if exact else float
        self._quick = _decoder(int, fraction)
        self._careful = _decoder(lambda text: int(_short(text)), lambda text: fraction(_short(text)))
        self._paranoid = _decoder(
            lambda text: int(_short(text)), lambda text: fraction(_short(text)), _object_with_short_keys
        )

    def read(self, raw: bytes) -> dict[str, Any]:
        """The object; raises Unreadable. A repeated key has its last value."""
        if len(raw) > MAX_RECORD_BYTES:
            raise Unreadable("record:too_large")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise Unreadable("record:not_utf8") from None
        if "\\u" in text:
            _refuse_bad_escapes(text)
        value = self._parse(text, len(raw))
        if not isinstance(value, dict):
            raise Unreadable("record:not_an_object")
        return value

    def _parse(self, text: str, size: int) -> object:
        decoder = self._quick if size <= MAX_NUMBER_CHARS else self._careful
        if size > MAX_KEY_CHARS:
            decoder = self._paranoid
        try:
            if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
                raise ValueError("nested too deep")
            return decoder.decode(text)
        except (ValueError, RecursionError):
            raise Unreadable("record:malformed_json") from None


def _decoder(
    whole: Callable[[str], int],
    fraction: Callable[[str], float | Fraction],
    pairs: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None,
) -> json.JSONDecoder:
    return json.JSONDecoder(
        parse_int=whole,
        parse_float=fraction,
        parse_constant=_refuse_constant,
        object_pairs_hook=pairs,
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _short(number: str) -> str:
    if len(number) > MAX_NUMBER_CHARS and sum(map(str.isdigit, number)) > MAX_NUMBER_CHARS:
        raise ValueError("a number is too long")
    return number


def _object_with_short_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for key, _ in pairs:
        if len(key) * 2 > MAX_KEY_CHARS and len(key.encode("utf-16-le")) // 2 > MAX_KEY_CHARS:
            raise ValueError("a key is too long")
    return dict(pairs)


def _refuse_bad_escapes(text: str) -> None:
    plain = text.replace("\\\\", " ")
    if _SURROGATE.search(_PAIR.sub(" ", plain)):
        raise Unreadable("record:lone_surrogate")
    if _FOREIGN.search(plain):
        raise Unreadable("record:malformed_json")


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in _STRING.sub("", text):
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest
