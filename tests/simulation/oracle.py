"""What an answer may say, worked out from the source alone: by recomputing its records up to some point."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from streaming.covered_from import MAX_AHEAD_S
from tests.simulation.definitions import CONTRACT, LANE, merged, shown
from tests.simulation.engine import DELAY_S, consumed
from tidemark import keys
from tidemark.dims import encode_dims
from tidemark.merge import base_window
from tidemark.metrics.model import Metric
from tidemark.progress import Fence, Progress
from tidemark.windows import Span, ceil_to, floor_to

if TYPE_CHECKING:
    from tests.simulation.world import World

UNTRUSTED = ("not_covered", "speed_unavailable", "batch_only")
STALE_AFTER_S = 30.0
Partial = tuple[int, ...] | None


@dataclass(frozen=True)
class Seen:
    """The state at the moment of an answer."""

    world: "World"
    progress: Progress | None
    alive: bool

    @classmethod
    def of(cls, world: "World") -> Self:
        if world.redis.is_down:
            return cls(world, None, False)
        return cls(world, world.progress(), world.redis.peek(keys.alive(CONTRACT.name, LANE)) is not None)

    @cached_property
    def is_current(self) -> bool:
        """Whether a stream is known to be at work: else what is complete must hold every record there is."""
        fresh = self.progress is not None and abs(self.world.clock_s - self.progress.as_of) <= STALE_AFTER_S
        return self.alive and fresh

    def speed_ends(self, start: int, window_s: int) -> list[int]:
        """How many records a speed window may hold."""
        if self.progress is None:
            return [len(self.world.source)]
        watermark = self.progress.watermark
        if not self.is_current and (watermark is None or start >= floor_to(watermark, window_s)):
            return [len(self.world.source)]
        return self._told_ends

    @cached_property
    def _told_ends(self) -> list[int]:
        assert self.progress is not None
        taken, as_of = consumed(self.progress.position), self.progress.as_of
        told = {taken, *self._half_written(self.progress.batch)}
        received = self._received_before(as_of)
        ends = sorted(end for end in told if end >= received)
        assert ends, f"speed_as_of {as_of} is ahead of the views, which hold at most {max(told)} records"
        return ends

    def _half_written(self, batch: int) -> set[int]:
        """End of the batch after the one that progress tells of, in the fence's checkpoint: it may be in in part."""
        held = self.world.redis.peek(keys.fence(CONTRACT.name, LANE))
        holder = Fence.parse(held).checkpoint if held else None
        owner = (each for each in self.world.checkpoints if each.note and each.note.identity == holder)
        return {plan.end for each in owner for plan in each.plans[batch + 1 : batch + 2]}

    def _received_before(self, as_of: float) -> int:
        """How many records had come by then: a backlog must never look fresh."""
        return sum(event.received_s < as_of for event in self.world.source)


def check_answer(seen: Seen, metric: Metric, window_s: int, span: Span, document: Mapping[str, Any]) -> None:
    """AssertionError when an answer shows a number that it must not, or hides one without saying so."""
    gaps = [(_at(gap["from"]), _at(gap["to"]), gap["reason"]) for gap in document["missing"]]
    assert document["complete"] == (not gaps)
    points = {(_at(point["start"]), _key(metric, point)): point for point in document["points"]}
    assert len(points) == len(document["points"]), "a point comes twice"
    window = _Window(seen, metric, window_s, document)
    shown_at: dict[int, dict[bytes, Any]] = defaultdict(dict)
    for (start, key), point in points.items():
        shown_at[start][key] = point
    for start in sorted({*shown_at, *window.starts()}):
        assert span.start <= start < span.end
        found = shown_at.get(start, {})
        reasons = {reason for low, high, reason in gaps if low < start + window_s and start < high}
        if reasons.intersection(UNTRUSTED):
            assert not found, f"{metric.name} {start}: points in a part that no layer covers: {found}"
        else:
            window.check(start, found, is_lower_bound=bool(reasons))


class _Window:
    """The windows of one answer."""

    def __init__(self, seen: Seen, metric: Metric, window_s: int, document: Mapping[str, Any]) -> None:
        self._seen, self._metric, self._window_s = seen, metric, window_s
        world = seen.world
        self._publication = world.lake.publication(metric.name, document["batch_version"])
        assert (document["batch_version"] is None) == (self._publication is None)
        if self._publication is not None:
            held = world.lake.silver[self._publication.silver_version or 0]
            begun = world.begun_at[metric.name, self._publication.version]
            assert held >= begun, f"{metric.name}: sealed without records that the source had when the batch began"
        self._base = base_window(metric, window_s)
        self._all = world.source.truth(metric, len(world.source))

    def starts(self) -> set[int]:
        """Windows in which any record ever fell; in the others nothing may be shown."""
        return self._seen.world.source.starts(self._metric, self._base, self._window_s)

    def check(self, start: int, found: Mapping[bytes, Mapping[str, Any]], *, is_lower_bound: bool) -> None:
        if is_lower_bound:
            self._check_below(start, found)
            return
        parts = [self._allowed(at) for at in range(start, start + self._window_s, self._base)]
        groups = set(found).union(*(truth for part in parts for truth in part))
        for key in groups:
            possible: set[Partial] = {None}
            for part in parts:
                possible = {merged(self._metric, one, truth.get(key)) for one in possible for truth in part}
            wanted = [None if each is None else shown(self._metric, each) for each in possible]
            actual = found[key]["values"] if key in found else None
            what = f"{self._metric.name} {self._window_s} s from {start}, {key!r}"
            assert actual in wanted, f"{what}: {actual} instead of {wanted}"
            if actual is not None:
                self._check_state(start, found[key])

    def _allowed(self, start: int) -> list[dict[bytes, tuple[int, ...]]]:
        """dims key → partial of one stored window, in each way in which it may rightly be found."""
        world, publication = self._seen.world, self._publication
        if publication is not None and start < publication.sealed_through:
            ends = [world.lake.silver[publication.silver_version or 0]]
        else:
            ends = self._seen.speed_ends(start, self._window_s)
        return [world.source.truth(self._metric, end).get((self._base, start), {}) for end in ends]

    def _check_below(self, start: int, found: Mapping[bytes, Mapping[str, Any]]) -> None:
        """A late or stale part is shown, and said to be missing: never more than there is."""
        for key, point in found.items():
            most: Partial = None
            for at in range(start, start + self._window_s, self._base):
                most = merged(self._metric, most, self._all.get((self._base, at), {}).get(key))
            assert most is not None, f"{self._metric.name} {start} {key!r}: a group that never was"
            limits = shown(self._metric, most)
            over = {name: value for name, value in point["values"].items() if value > limits[name]}
            assert not over, f"{self._metric.name} {start} {key!r}: {over} is more than {limits}"

    def _check_state(self, start: int, point: Mapping[str, Any]) -> None:
        sealed = self._publication is not None and start + self._window_s <= self._publication.sealed_through
        assert (point["state"] == "sealed") == sealed
        assert (point["layer"] == "batch") == sealed or not sealed


def expected_gaps(world: "World", metric: Metric, document: Mapping[str, Any]) -> list[Any]:
    """Gaps of a settled world that nothing excuses.

    Excused are windows in which late events were left to a batch that has not come, and, after something was lost,
    what lies below the watermark or the newest event's hour: views that went with it until the batch has sealed them.
    On a cleaned source also what an event that is gone from it may have counted in: one up to `MAX_AHEAD_S` ahead.
    """
    newest = max((event.at_s for event in world.source), default=0)
    lost_below = (
        floor_to(newest, metric.granule_s) + metric.granule_s + DELAY_S if world.losses or world.redefined else 0
    )
    if lost_below and world.source.cleaned:
        oldest_s = min((event.received_s for event in world.source[world.source.cleaned :]), default=world.clock_s)
        lost_below = max(lost_below, ceil_to(oldest_s + MAX_AHEAD_S, metric.granule_s))
    unexcused = []
    for gap in document["missing"]:
        excused = gap["reason"] == "late" or (gap["reason"] == "not_covered" and _at(gap["to"]) <= lost_below)
        if not excused or (gap["reason"] == "late" and not _has_late(world, _at(gap["from"]), _at(gap["to"]))):
            unexcused.append(gap)
    return unexcused


def _has_late(world: "World", start: int, end: int) -> bool:
    """Whether a record in this part came when one at least `DELAY_S` newer had come before it."""
    newest = 0
    for event in world.source:
        if start <= event.at_s < end and newest - event.at_s > DELAY_S - 60:
            return True
        newest = max(newest, event.at_s)
    return False


def _key(metric: Metric, point: Mapping[str, Any]) -> bytes:
    return encode_dims([point["dims"][dim.name] for dim in metric.dims])


def _at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())
