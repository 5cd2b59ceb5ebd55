"""Compares the points of an answer with the truth."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.oracle.recompute import Key, Values


def mismatches(
    actual: Iterable[Mapping[str, Any]], expected: Mapping[Key, Values], group_by: Sequence[str]
) -> list[str]:
    """One line per difference: points that lack, that should not be, that come twice, and values out of bounds.

    `actual` are points of an answer: `start` (ISO 8601), `dims`, `values`.
    """
    found: list[str] = []
    seen: dict[Key, Mapping[str, Any]] = {}
    for point in actual:
        start = int(datetime.fromisoformat(point["start"]).timestamp())
        key = (start, tuple(point["dims"].get(dim) for dim in group_by))
        if key in seen:
            found.append(f"{key}: twice")
        seen[key] = point["values"]
    found += [f"{key}: missing" for key in expected if key not in seen]
    found += [f"{key}: should not be" for key in seen if key not in expected]
    for key, values in expected.items():
        found += _differing(key, seen[key], values) if key in seen else []
    return found


def _differing(key: Key, actual: Mapping[str, Any], expected: Values) -> list[str]:
    if set(actual) != set(expected):
        return [f"{key}: measures {sorted(actual)} instead of {sorted(expected)}"]
    return [
        f"{key}: {name} is {actual[name]!r} instead of {right.value!r}"
        for name, right in expected.items()
        if not right.accepts(actual[name])
    ]
