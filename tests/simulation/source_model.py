"""The source as lanes, serving and the oracle see it: records in the order of reception, and their recompute."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, overload

from intake.source import Backlog
from tests.simulation.definitions import Event, recompute
from tests.simulation.engine import consumed, position
from tidemark.metrics.model import Metric
from tidemark.windows import Span, floor_to


class SourceModel:
    """`cleaned`: so many of its first records are gone. `start_s`: where time begins, as long as it is empty."""

    def __init__(self, start_s: int) -> None:
        self.cleaned = 0
        self._events: list[Event] = []
        self._edges = (start_s, start_s)
        self._truths: dict[tuple[str, int], Any] = {}
        self._starts: dict[tuple[str, int], tuple[int, set[int]]] = {}

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    @overload
    def __getitem__(self, at: int) -> Event: ...

    @overload
    def __getitem__(self, at: slice) -> list[Event]: ...

    def __getitem__(self, at: int | slice) -> Event | list[Event]:
        return self._events[at]

    def append(self, event: Event) -> None:
        first, last = self._edges if self._events else (event.at_s, event.at_s)
        self._edges = min(first, event.at_s), max(last, event.at_s)
        self._events.append(event)

    # --- as the product asks it

    def end_position(self) -> dict[str, Any]:
        return position(len(self))

    def backlog(self, held: dict[str, Any] | None) -> Backlog:
        unread = self._events[max(consumed(held or {}), self.cleaned) :]
        oldest = datetime.fromtimestamp(unread[0].received_s, UTC) if unread else None
        return Backlog(len(unread), oldest)

    def appended_ever(self) -> int:
        return len(self)

    def removed_ever(self) -> int:
        return self.cleaned

    # --- as the oracle asks it

    def truth(self, metric: Metric, end: int) -> Any:
        """The recompute over the first `end` records."""
        key = (metric.name, end)
        if key not in self._truths:
            self._truths[key] = recompute(metric, self._events[:end])
        return self._truths[key]

    def starts(self, metric: Metric, base_s: int, window_s: int) -> set[int]:
        """Windows of a length, composed of those of `base_s`, in which any record fell."""
        key = (metric.name, window_s)
        known = self._starts.get(key)
        if known is None or known[0] != len(self):
            cells = self.truth(metric, len(self))
            known = len(self), {floor_to(start, window_s) for length, start in cells if length == base_s}
            self._starts[key] = known
        return known[1]

    def everything(self) -> Span:
        """The hours around all events."""
        first, last = self._edges
        return Span(floor_to(first, 3600), floor_to(last, 3600) + 3600)
