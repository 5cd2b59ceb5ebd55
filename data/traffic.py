"""How much traffic, from when, and its rhythm: the slots that a pack's generator fills with events.

Determinism: the same `Traffic` gives the same slots, and a generator fed with them and the same seed gives the same
bytes. The event ids carry a digest of everything that shapes the bytes, so that two different runs never share one.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple

from data.faults import Faults

_HOUR_MS = 3_600_000


class Slot(NamedTuple):
    """One place in the traffic: the id of the event that fills it and its time (epoch ms, and ISO 8601)."""

    event_id: str
    at_ms: int
    timestamp: str


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Relative traffic by hour of the day (UTC) and by day of the week (Monday first)."""

    hours: Sequence[float] = (1.0,) * 24
    days: Sequence[float] = (1.0,) * 7

    def weight(self, at_ms: int) -> float:
        moment = datetime.fromtimestamp(at_ms / 1000, UTC)
        return self.hours[moment.hour] * self.days[moment.weekday()]


@dataclass(frozen=True, slots=True)
class Traffic:
    """`rate` records a second on average for `seconds`, event times from `start_ms` (epoch ms)."""

    pack: str
    rate: float
    seconds: float
    seed: int
    start_ms: int
    keys: int | None = None
    faults: Faults = field(default_factory=Faults)

    @property
    def records(self) -> int:
        """Records of the whole run, re-sends and broken ones included."""
        return round(self.rate * self.seconds)

    @property
    def run_id(self) -> str:
        """Ten hex digits that differ between any two different runs."""
        return hashlib.blake2b(repr(self).encode(), digest_size=5).hexdigest()


def slots(traffic: Traffic, rhythm: Rhythm) -> Iterator[Slot]:
    """All slots in time order, spread over the run in proportion to the rhythm."""
    run_id, number, second, text = traffic.run_id, 0, None, ""
    for begin_ms, end_ms, count in _stretches(traffic, rhythm):
        span_ms = end_ms - begin_ms
        for place in range(count):
            at_ms = begin_ms + place * span_ms // count
            at_s, rest_ms = divmod(at_ms, 1000)
            if at_s != second:
                second, text = at_s, iso_seconds(at_s)
            yield Slot(f"{run_id}-{number:x}", at_ms, f"{text}.{rest_ms:03d}Z")
            number += 1


def iso_seconds(at_s: int) -> str:
    """`2026-01-01T00:00:00` in UTC, without the zone."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def iso_ms(at_ms: int) -> str:
    """`2026-01-01T00:00:00.000Z`."""
    return f"{iso_seconds(at_ms // 1000)}.{at_ms % 1000:03d}Z"


def _stretches(traffic: Traffic, rhythm: Rhythm) -> Iterator[tuple[int, int, int]]:
    """(begin, end, records) per hour of the clock; the counts add up to exactly `traffic.records`."""
    end_ms = traffic.start_ms + round(traffic.seconds * 1000)
    edges = [traffic.start_ms]
    while edges[-1] < end_ms:
        edges.append(min(end_ms, (edges[-1] // _HOUR_MS + 1) * _HOUR_MS))
    shares = [(end - begin) * rhythm.weight(begin) for begin, end in pairwise(edges)]
    total, passed, placed = sum(shares), 0.0, 0
    for index, share in enumerate(shares):
        passed += share
        until = traffic.records if index == len(shares) - 1 else round(passed / total * traffic.records)
        yield edges[index], edges[index + 1], until - placed
        placed = until
