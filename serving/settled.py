"""The settled part of an answer: its points that nothing can change any more, kept as the JSON that they are sent as.

Sealed windows are immutable within their publication's runs, closed ones within their writer: a stream never touches a
window that its watermark has passed. So only what lies beyond is read and merged anew for each question.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

from tidemark.coverage import UNTRUSTED, Missing
from tidemark.merge import Query
from tidemark.metrics.model import Metric
from tidemark.publication import Publication, Run
from tidemark.windows import Span, floor_to

KEPT_BYTES = 256 * 1024 * 1024
"""Of all kept parts of one process: some 9,000 entities over a day of 10-minute windows."""
LARGEST_SHARE = 64
"""A part that takes more than this fraction of it is not kept: it would drive out what many ask for."""


class SettledKey(NamedTuple):
    """Equal keys mean equal points: the question, and who wrote what it rests on. `runs`: below `cut`. `expired`: what
    of it was deleted since."""

    family: str
    window_s: int
    span: Span
    filters: tuple[tuple[str, str], ...]
    group_by: tuple[str, ...]
    cut: int
    runs: tuple[Run, ...]
    writer: str | None
    expired: Span | None = None
    top: int | None = None
    order_by: str | None = None


@dataclass(frozen=True, slots=True)
class Tide:
    """How far each layer has settled. `watermark`, `writer`: of speed; None when it has none that can be relied on."""

    publication: Publication | None
    watermark: int | None
    writer: str | None


def settled_part(metric: Metric, query: Query, tide: Tide, missing: tuple[Missing, ...]) -> SettledKey | None:
    """The first part of the asked range that is settled; None when there is none.

    A ranking needs all points at once, so all of it is settled or nothing. A part that no layer covers ends what can be
    kept of speed.
    """
    start, end = query.span.start, query.span.end
    sealed = floor_to(tide.publication.sealed_through, query.window_s) if tide.publication else start
    trusted = not any(gap.reason in UNTRUSTED for gap in missing)
    closed = floor_to(tide.watermark, query.window_s) if trusted and tide.writer and tide.watermark else start
    edge = min(max(sealed, closed), end)
    ranked = query.top is not None or query.order_by is not None
    if edge <= start or (ranked and edge < end):
        return None
    cut = min(max(tide.publication.sealed_through, start), edge) if tide.publication else start
    runs = tide.publication.runs_in(Span(start, cut)) if tide.publication else ()
    expired = tide.publication.expired_in(Span(start, cut)) if tide.publication else None
    writer = tide.writer if edge > cut else None
    filters = tuple(sorted(query.filters.items()))
    span, rank = Span(start, edge), (query.top, query.order_by)
    return SettledKey(metric.family, query.window_s, span, filters, query.group_by, cut, runs, writer, expired, *rank)


class SettledParts:
    """The parts used last, up to so many bytes. One event loop uses it."""

    def __init__(self, limit_bytes: int = KEPT_BYTES) -> None:
        self._limit = limit_bytes
        self._parts: OrderedDict[SettledKey, bytes] = OrderedDict()
        self._size = 0

    def get(self, key: SettledKey) -> bytes | None:
        """JSON of the points, without brackets."""
        part = self._parts.get(key)
        if part is not None:
            self._parts.move_to_end(key)
        return part

    def put(self, key: SettledKey, part: bytes) -> None:
        if len(part) > self._limit // LARGEST_SHARE:
            return
        self._size += len(part) - len(self._parts.pop(key, b""))
        self._parts[key] = part
        while self._size > self._limit:
            _, oldest = self._parts.popitem(last=False)
            self._size -= len(oldest)
