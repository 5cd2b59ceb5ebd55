"""Records that break a contract, in every way that it can be broken. All are certain to be quarantined.

The catalogue follows from the contract's own fields and rules, so that a changed contract is still broken well.
"""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import orjson

from tidemark.contracts import Contract, Field

Event = dict[str, Any]
_TOO_LARGE = 1024 * 1024 + 1
_HUGE_SHARE = 0.002
_WRONG_TYPE: dict[str, tuple[Any, ...]] = {
    "string": (17, ["a"], {"a": 1}),
    "long": ("many", 1.5, True, [1]),
    "double": ("strong", False, {}),
    "boolean": ("perhaps", 3),
    "timestamp": ("yesterday", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z", True),
    "map<string,string>": ("a=b", [1, 2]),
    "struct": ("none", 12, [1]),
}


def break_record(event: Event, contract: Contract, rng: Random) -> bytes:
    """A record made of `event` that breaks the contract in one way, or in several. May change `event`."""
    chance = rng.random()
    if chance < _HUGE_SHARE:
        return orjson.dumps({**event, "padding": "x" * _TOO_LARGE})
    if chance < 0.35:
        return rng.choice(_UNREADABLE)(event)
    _break_field(event, rng.choice([field for field in contract.fields if field.required]), rng)
    if chance > 0.9:
        event[contract.event_time] = "2999-01-01T00:00:00Z"
    return orjson.dumps(event)


def _break_field(event: Event, field: Field, rng: Random) -> None:
    if field.type.kind == "struct" and isinstance(event.get(field.name), dict) and rng.random() < 0.7:
        _break_field(event[field.name], rng.choice([child for child in field.fields if child.required]), rng)
        return
    breakages: list[Any] = [None, *_WRONG_TYPE.get(field.type.kind, ()), *_against_rules(field)]
    place = int(rng.random() * (len(breakages) + 1))
    if place == len(breakages):
        event.pop(field.name, None)
    else:
        event[field.name] = breakages[place]


def _against_rules(field: Field) -> list[Any]:
    rules, broken = field.rules, list[Any]()
    if rules.between is not None:
        low, high = rules.between
        broken += [float(low) - 1 if field.type.kind == "double" else int(low) - 1] if low is not None else []
        broken += [float(high) + 1 if field.type.kind == "double" else int(high) + 1] if high is not None else []
    if rules.length is not None:
        low, high = rules.length
        broken += ["x" * (high + 1), *([""] if low > 0 else [])]
    if rules.one_of is not None:
        broken.append("none of these")
    if rules.matches is not None:
        broken += ["", "has space", "ünïcode", "x" * 65]
    if field.type.kind == "timestamp":
        broken.append("2999-12-31T23:59:59Z")
    return broken


def _truncated(event: Event) -> bytes:
    return orjson.dumps(event)[:-7]


def _with_literal(literal: str) -> Callable[[Event], bytes]:
    """A number that JSON or a 64-bit column cannot hold, in place of the first number, else of the whole record."""

    def breaker(event: Event) -> bytes:
        text = json.dumps(event)
        for name, value in event.items():
            if isinstance(value, int) and not isinstance(value, bool):
                return text.replace(f'"{name}": {value}', f'"{name}": {literal}', 1).encode()
        return f"[{literal}]".encode()

    return breaker


def _lone_surrogate(event: Event) -> bytes:
    return orjson.dumps({**event, "event_id": "@"}).replace(b'"@"', b'"\\ud800"')


_UNREADABLE: tuple[Callable[[Event], bytes], ...] = (
    _truncated,
    _with_literal("NaN"),
    _with_literal("-Infinity"),
    _with_literal("9223372036854775808"),
    _lone_surrogate,
    lambda event: b"\xff\xfe" + orjson.dumps(event),
    lambda event: orjson.dumps([event]),
    lambda event: orjson.dumps(event["event_id"]),
    lambda event: b"null",
    lambda event: b"{}",
    lambda event: b"<event/>",
    lambda event: orjson.dumps({**event, "version": 99}),
)
