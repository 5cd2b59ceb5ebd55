"""What the speed layer holds: how far it has come, and its absolute partials per window."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from serving.selection import Cells, Selection
from serving.views import HASHES_PER_CALL, Views
from tidemark import keys
from tidemark.errors import ViewsUnavailable
from tidemark.metrics.model import Metric
from tidemark.progress import Fence, Progress
from tidemark.publication import Publication
from tidemark.windows import Span, floor_to, starts

AHEAD = 8
"""At most so many windows of one entity are read in the same call as the head."""

_HEAD = """
local get, range = function(i) return redis.call('GET', KEYS[i]) end, function(i)
  return redis.call('ZRANGEBYSCORE', KEYS[i], ARGV[1], ARGV[2])
end
local ahead = {}
for i = 8, #KEYS do ahead[i - 7] = redis.call('HGET', KEYS[i], ARGV[3]) end
return {get(1), get(2), get(3), get(4), redis.call('EXISTS', KEYS[5]), range(6), range(7), ahead}
"""

_OF_ENTITY = """
local found = {}
for i = 2, #KEYS do found[i - 1] = redis.call('HGET', KEYS[i], ARGV[1]) end
return {redis.call('GET', KEYS[1]), found}
"""

# A stream writes some times a second and is asked thousands of times: the same bytes are parsed once.
_publication = lru_cache(maxsize=256)(Publication.from_json)
_progress = lru_cache(maxsize=256)(Progress.from_json)
_fence = lru_cache(maxsize=256)(Fence.parse)


class ViewsReplaced(ViewsUnavailable):
    """The views are not those of the head any more: emptied, repaired, or set back to an older copy."""


@dataclass(frozen=True, slots=True)
class Head:
    """State of both layers at one instant, read before any partial: what is read later is at least as new.

    `late`: start seconds of the buckets in the asked span in which speed dropped an event. `held`: starts of the
    windows of the asked length and span that speed holds. `lake`: progress of the lake writer. `fence`: who wrote
    last. `ahead`: window start → the asked entity's partial, of the windows that were read at the same instant.
    """

    publication: Publication | None
    progress: Progress | None
    lake: Progress | None
    fence: Fence | None
    alive: bool
    late: tuple[int, ...]
    held: tuple[int, ...]
    ahead: Mapping[int, bytes | None] = field(default_factory=dict)

    @property
    def writer(self) -> str | None:
        """Which start of which checkpoint wrote all that is here: what one writer has closed never changes.

        None while a new one takes over: it has claimed the fence, but the views are still its predecessor's.
        """
        if self.fence is None or self.progress is None or self.fence.epoch != self.progress.epoch:
            return None
        return f"{self.fence.epoch}:{self.fence.checkpoint}"

    def vouches_under(self, found: bytes | None) -> bool:
        """Whether views under the fence `found` hold all that this head knows of, or newer.

        Whatever takes windows away (a repair, a reset, a loss and its restoration) moves or loses the fence first; the
        same start of the same checkpoint only goes on.
        """
        if self.progress is None:
            return True  # nothing is relied on
        if self.fence is None or found is None:
            return False
        fence = _fence(found)
        same = (fence.epoch, fence.checkpoint) == (self.fence.epoch, self.fence.checkpoint)
        return same and fence.batch >= self.fence.batch


class SpeedStore:
    """Reads of the speed views. Every method raises ViewsUnavailable when Redis is away."""

    def __init__(self, views: Views) -> None:
        self._views = views
        self._watermarks: dict[tuple[str, str], int] = {}

    async def head(
        self, metric: Metric, window_s: int, span: Span, dims_key: bytes | None = None, asked_s: int | None = None
    ) -> Head:
        """One round trip. With an entity's `dims_key` it also brings the partials that an answer in windows of
        `asked_s` cannot have kept: those beyond the last known watermark."""
        contract, lane = metric.contract, metric.lane
        names = (
            keys.publication(metric.name),
            keys.progress(contract, lane),
            keys.progress(contract, keys.LAKE_LANE),
            keys.fence(contract, lane),
            keys.alive(contract, lane),
            keys.late(contract, lane),
            keys.speed_index(metric.family, window_s),
        )
        ahead = () if dims_key is None else self._moving(metric, window_s, span, asked_s or window_s)
        windows = [keys.speed_window(metric.family, window_s, start) for start in ahead]
        reply = await self._views.script(_HEAD, [*names, *windows], span.start, f"({span.end}", dims_key or b"")
        pointer, progress, lake, fence, alive, late, held, fields = reply
        head = Head(
            None if pointer is None else _publication(pointer),
            None if progress is None else _progress(progress),
            None if lake is None else _progress(lake),
            None if fence is None else _fence(fence),
            bool(alive),
            tuple(map(int, late)),
            tuple(map(int, held)),
            dict(zip(ahead, fields, strict=True)),
        )
        if head.progress is not None and head.progress.watermark is not None:
            self._watermarks[contract, lane] = head.progress.watermark
        return head

    def _moving(self, metric: Metric, window_s: int, span: Span, asked_s: int) -> range:
        """Starts of the windows that an answer will read of speed, as far as can be told before the head is read."""
        watermark = self._watermarks.get((metric.contract, metric.lane), span.start)
        moving = starts(Span(max(span.start, floor_to(watermark, asked_s)), span.end), window_s)
        return moving if len(moving) <= AHEAD else range(0)

    async def partials(
        self, metric: Metric, window_s: int, held: tuple[int, ...], selection: Selection, head: Head
    ) -> Cells:
        """Partials of the windows that start at `held`. What the head of the question brought is not read again.

        ViewsReplaced when they are not the head's any more: a window that is gone would pass for one without events.
        """
        key = selection.dims_key
        if key is not None and head.ahead.keys() >= set(held):
            return {start: {key: packed} for start in held if (packed := head.ahead[start]) is not None}
        fence = keys.fence(metric.contract, metric.lane)
        names = [keys.speed_window(metric.family, window_s, start) for start in held]
        if not names:
            return {}
        if key is not None:
            found, fields = await self._views.script(_OF_ENTITY, [fence, *names], key)
            _check(head, found)
            return {start: {key: packed} for start, packed in zip(held, fields, strict=True) if packed is not None}
        hashes: list[dict[bytes, bytes]] = []
        for first in range(0, len(names), HASHES_PER_CALL):
            hashes += await self._hashes(fence, names[first : first + HASHES_PER_CALL], head)
        return {start: window for start, window in zip(held, hashes, strict=True) if window}

    async def _hashes(self, fence: str, names: list[str], head: Head) -> list[dict[bytes, bytes]]:
        """One round trip, not atomic: the fence before says that all is there, the one after that none of it went."""

        def queue(pipe: Any) -> None:
            pipe.get(fence)
            for name in names:
                pipe.hgetall(name)
            pipe.get(fence)

        before, *hashes, after = await self._views.pipeline(queue)
        _check(head, before)
        _check(head, after)
        return hashes

    async def latest_start(self, metric: Metric, window_s: int, dims_key: bytes) -> int | None:
        """Start of the newest window that holds the entity."""
        members = await self._views.command("ZREVRANGE", keys.speed_index(metric.family, window_s), 0, -1)
        held = [int(start) for start in members]
        names = [keys.speed_window(metric.family, window_s, start) for start in held]
        found = await self._views.first_with_field(names, dims_key)
        return None if found is None else held[found]


def _check(head: Head, fence: bytes | None) -> None:
    if not head.vouches_under(fence):
        raise ViewsReplaced("Redis: the speed views were replaced while they were read")
