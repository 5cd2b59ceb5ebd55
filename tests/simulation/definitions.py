"""The metrics of the simulation: two granules, with and without a dimension, sums and an extreme. And their truth."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from conf.settings import PACKAGED
from tidemark.dims import encode_dims
from tidemark.metrics.compiler import compile_metric
from tidemark.metrics.model import Metric
from tidemark.metrics.registry import load_registry
from tidemark.partials import PartialCodec
from tidemark.windows import floor_to

CONTRACT = load_registry([PACKAGED]).contracts["access"]
LANE = "exact"


def _metric(name: str, sql: str, windows: list[str]) -> Metric:
    definition = {
        "name": name,
        "description": name,
        "sql": sql,
        "windows": windows,
        "schedule": "0 2 * * *",
        "retention": {"hot": "2h", "warm": "30d", "cold": "2y"},
        "category": "test",
    }
    return compile_metric(definition, {CONTRACT.name: CONTRACT})


TOTALS = _metric(
    "totals",
    "SELECT device_id, SUM(access_count) AS total, COUNT(*) AS events FROM access GROUP BY device_id",
    ["10m", "30m"],
)
PEAKS = _metric("peaks", "SELECT MAX(access_count) AS peak, COUNT(*) AS events FROM access", ["5m", "1h"])
METRICS = {metric.name: metric for metric in (TOTALS, PEAKS)}
CODECS = {metric.name: PartialCodec(metric) for metric in METRICS.values()}


@dataclass(frozen=True, slots=True)
class Event:
    """`at_s`: event time in whole seconds; `received_s`: the clock when the source took it."""

    id: str
    at_s: int
    device: str
    count: int
    received_s: float


Cell = tuple[int, int, bytes]
"""(window length, window start, dims key)"""


def cells(metric: Metric, event: Event) -> list[Cell]:
    """The groups that an event counts in."""
    key = encode_dims([event.device]) if metric.dims else b""
    return [(length, floor_to(event.at_s, length), key) for length in metric.windows]


def fold(metric: Metric, held: tuple[int, ...] | None, event: Event) -> tuple[int, ...]:
    """A partial and one event more."""
    if metric.name == TOTALS.name:
        return (event.count, 1) if held is None else (held[0] + event.count, held[1] + 1)
    return (event.count, 1) if held is None else (max(held[0], event.count), held[1] + 1)


def merged(metric: Metric, one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Two partials as one."""
    if one is None or other is None:
        return one or other
    first = one[0] + other[0] if metric.name == TOTALS.name else max(one[0], other[0])
    return first, one[1] + other[1]


def shown(metric: Metric, partial: tuple[int, ...]) -> dict[str, Any]:
    """The values that an answer shows for a partial."""
    names = ("total", "events") if metric.name == TOTALS.name else ("peak", "events")
    return dict(zip(names, partial, strict=True))


def recompute(metric: Metric, events: Iterable[Event]) -> dict[tuple[int, int], dict[bytes, tuple[int, ...]]]:
    """The truth over some records, every id once: (window length, start) → dims key → partial."""
    found: dict[tuple[int, int], dict[bytes, tuple[int, ...]]] = {}
    seen: set[str] = set()
    for event in events:
        if event.id not in seen:
            seen.add(event.id)
            for length, start, key in cells(metric, event):
                groups = found.setdefault((length, start), {})
                groups[key] = fold(metric, groups.get(key), event)
    return found
