"""Half-open windows `[start, end)` in event time, UTC, aligned to the epoch.

Edges are whole seconds since the epoch, as int: no float ever decides on which side of an edge an event falls.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from tidemark.errors import UserError

WINDOWS: dict[str, int] = {"1m": 60, "5m": 300, "10m": 600, "30m": 1800, "1h": 3600, "1d": 86400}
"""Every window length there is: name → seconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = {seconds: name for name, seconds in WINDOWS.items()}
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open range of event time `[start, end)`, in epoch seconds."""

    start: int
    end: int

    @property
    def is_empty(self) -> bool:
        return self.start >= self.end


def window_seconds(name: str) -> int:
    """Length in seconds of a window given by name; UserError when there is no such window."""
    try:
        return WINDOWS[name]
    except KeyError:
        raise UserError(f"unknown window {name!r}; known: {', '.join(WINDOWS)}") from None


def window_name(seconds: int) -> str:
    """Name of a window length, `600` → `10m`."""
    return _NAMES[seconds]


def floor_to(instant: float, length_s: int) -> int:
    """The window edge at or before an instant (also before the epoch)."""
    return int(instant // length_s) * length_s


def ceil_to(instant: float, length_s: int) -> int:
    """The window edge at or after an instant."""
    return -int(-instant // length_s) * length_s


def widen(span: Span, length_s: int) -> Span:
    """The smallest range of whole windows that holds `span`."""
    return Span(floor_to(span.start, length_s), ceil_to(span.end, length_s))


def starts(span: Span, length_s: int) -> range:
    """Starts of the whole windows inside an aligned span."""
    return range(span.start, span.end, length_s)


def parse_instant(text: str, what: str) -> datetime:
    """ISO 8601 with a zone → aware UTC datetime. UserError names `what`, e.g. the parameter or option."""
    if _INSTANT.fullmatch(text):
        try:
            return datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise UserError(f"{what}: {text!r} is not an ISO 8601 instant with a zone, such as 2026-01-01T00:00:00Z")


def epoch_seconds(instant: datetime) -> float:
    """Seconds since the epoch of an aware datetime."""
    return instant.timestamp()


def iso(instant: float | datetime) -> str:
    """`2026-01-01T00:00:00Z`; fractions appear only where there are any."""
    return _iso_edge(instant) if type(instant) is int else _iso(instant)


@lru_cache(maxsize=16_384)
def _iso_edge(edge: int) -> str:
    """The same edges are written in every answer; 16,384 are four months of 10-minute windows."""
    return _iso(edge)


def _iso(instant: float | datetime) -> str:
    moment = instant if isinstance(instant, datetime) else datetime.fromtimestamp(instant, UTC)
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def to_micros(instant: datetime) -> int:
    """Microseconds since the epoch, exact: a float loses them in distant centuries."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def iso_micros(micros: int) -> str:
    """Like `iso`, of whole microseconds since the epoch."""
    return iso(_EPOCH + timedelta(microseconds=micros))


def coalesce(spans: Iterable[Span]) -> Iterator[Span]:
    """Sorted union of spans: overlapping and touching ones become one."""
    pending: Span | None = None
    for span in sorted(span for span in spans if not span.is_empty):
        if pending is None:
            pending = span
        elif span.start <= pending.end:
            pending = Span(pending.start, max(pending.end, span.end))
        else:
            yield pending
            pending = span
    if pending is not None:
        yield pending
