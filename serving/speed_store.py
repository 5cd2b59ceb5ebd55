"""What the speed layer holds: how far it has come, and its absolute partials per window."""

from dataclasses import dataclass
from typing import Any

from serving.selection import Cells, Selection
from serving.views import Views
from tidemark import keys
from tidemark.metrics.model import Metric
from tidemark.progress import Fence, Progress
from tidemark.publication import Publication
from tidemark.windows import Span

_HEAD = """
local get, range = function(i) return redis.call('GET', KEYS[i]) end, function(i)
  return redis.call('ZRANGEBYSCORE', KEYS[i], ARGV[1], ARGV[2])
end
return {get(1), get(2), get(3), get(4), redis.call('EXISTS', KEYS[5]), range(6), range(7)}
"""


@dataclass(frozen=True, slots=True)
class Head:
    """State of both layers at one instant, read before any partial: what is read later is at least as new.

    `late`: start seconds of the buckets in the asked span in which speed dropped an event. `held`: starts of the
    windows of the asked length and span that speed holds. `lake`: progress of the lake writer. `fence`: who wrote
    last.
    """

    publication: Publication | None
    progress: Progress | None
    lake: Progress | None
    fence: Fence | None
    alive: bool
    late: tuple[int, ...]
    held: tuple[int, ...]

    @property
    def writer(self) -> str | None:
        """Which start of which checkpoint wrote all that is here: what one writer has closed never changes.

        None while a new one takes over: it has claimed the fence, but the views are still its predecessor's.
        """
        if self.fence is None or self.progress is None or self.fence.epoch != self.progress.epoch:
            return None
        return f"{self.fence.epoch}:{self.fence.checkpoint}"


class SpeedStore:
    """Reads of the speed views. Every method raises ViewsUnavailable when Redis is away."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def head(self, metric: Metric, window_s: int, span: Span) -> Head:
        """One round trip."""
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
        reply = await self._views.script(_HEAD, names, span.start, f"({span.end}")
        pointer, progress, lake, fence, alive, late, held = reply
        return Head(
            None if pointer is None else Publication.from_json(pointer),
            None if progress is None else Progress.from_json(progress),
            None if lake is None else Progress.from_json(lake),
            None if fence is None else Fence.parse(fence),
            bool(alive),
            tuple(map(int, late)),
            tuple(map(int, held)),
        )

    async def partials(self, metric: Metric, window_s: int, held: tuple[int, ...], selection: Selection) -> Cells:
        """Partials of the windows that start at `held`."""
        names = [keys.speed_window(metric.family, window_s, start) for start in held]
        if (key := selection.dims_key) is not None:
            rows = await self._views.field_of_each(names, key)
            return {start: {key: packed} for start, (packed, _) in zip(held, rows, strict=True) if packed is not None}
        hashes = await self._views.whole_hashes(names)
        return {start: window for start, window in zip(held, hashes, strict=True) if window}

    async def latest_start(self, metric: Metric, window_s: int, dims_key: bytes) -> int | None:
        """Start of the newest window that holds the entity."""

        def queue(pipe: Any) -> None:
            pipe.zrevrange(keys.speed_index(metric.family, window_s), 0, -1)

        (members,) = await self._views.pipeline(queue)
        held = [int(start) for start in members]
        names = [keys.speed_window(metric.family, window_s, start) for start in held]
        found = await self._views.first_with_field(names, dims_key)
        return None if found is None else held[found]
