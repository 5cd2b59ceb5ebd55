"""Which granules a batch has to compute for a metric: those that late events made dirty, and those it seals anew. Pure.

A granule is `[k·g, (k+1)·g)` with g the longest declared window: the unit of sealing. It is recomputed whole, for every
window length, so that a window never mixes two batches.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from tidemark.errors import UserError
from tidemark.metrics.model import Metric
from tidemark.publication import Publication
from tidemark.windows import Span, coalesce, floor_to, iso

BEGINNING = -62_135_596_800
"""0001-01-01T00:00:00Z, a multiple of every window length: where the first publication of a metric starts."""
DAY_S = 86_400
MAX_SPANS = 64
"""More ranges than this in one predicate make planning dearer than recomputing the gaps between them."""


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """What one batch does for one metric. `spans`: sorted, disjoint ranges of granules to recompute.

    `rebuild`: everything below `sealed_through` is recomputed and the gold table replaced (first batch, `--full`, a
    changed definition).
    """

    metric: Metric
    previous: Publication | None
    sealed_through: int
    spans: tuple[Span, ...]
    rebuild: bool
    dirty: int
    new: int

    @property
    def version(self) -> int:
        return (self.previous.version if self.previous else 0) + 1

    @property
    def is_idle(self) -> bool:
        """Nothing to recompute and nothing to seal: the old publication stays as it is."""
        return not self.spans

    @property
    def newly_sealed(self) -> Span:
        """What this batch seals for the first time; after a change of definition, what speed may have served of it."""
        return Span(self.previous.sealed_through if self.previous else BEGINNING, self.sealed_through)


def last_midnight(now: float) -> int:
    """Default of `through`: what is sealed further already stays so, and is only sealed again where it is dirty."""
    return floor_to(now, DAY_S)


def check_through(metrics: Iterable[Metric], published: Mapping[str, Publication], through: int, now: float) -> None:
    """UserError when `through` is in the future, or would move a metric's `sealed_through` back."""
    if through > now:
        raise UserError(f"--through: {iso(through)} is in the future")
    for metric in metrics:
        previous = published.get(metric.name)
        if previous and floor_to(through, metric.granule_s) < floor_to(previous.sealed_through, metric.granule_s):
            sealed = iso(previous.sealed_through)
            raise UserError(f"--through: {iso(through)} is before {sealed}, through which {metric.name} is sealed")


def plan_metric(
    metric: Metric,
    previous: Publication | None,
    through: int,
    late_minutes: Iterable[int],
    full: bool = False,
    first_event: float | None = None,
) -> MetricPlan:
    """`late_minutes`: start seconds of the minutes that gained silver rows since the previous publication.

    `first_event`: of all of silver; only to say how many granules a first batch seals.
    """
    sealed = _sealed_through(metric, previous, through)
    rebuild = full or previous is None or previous.family != metric.family
    if rebuild:
        since = previous.sealed_through if previous else sealed if first_event is None else first_event
        new = _count(Span(floor_to(since, metric.granule_s), sealed), metric)
        return MetricPlan(metric, previous, sealed, (Span(BEGINNING, sealed),), True, 0, new)
    assert previous is not None
    dirty = dirty_granules(metric, late_minutes, previous.sealed_through)
    fresh = Span(previous.sealed_through, sealed)
    ranges = bounded_spans([*dirty, fresh])
    return MetricPlan(metric, previous, sealed, ranges, False, len(dirty), _count(fresh, metric))


def dirty_granules(metric: Metric, minutes: Iterable[int], sealed_through: int) -> list[Span]:
    """The sealed granules that hold one of `minutes`, sorted."""
    length = metric.granule_s
    starts = {floor_to(minute, length) for minute in minutes if minute < sealed_through}
    return [Span(start, start + length) for start in sorted(starts)]


def bounded_spans(spans: Iterable[Span], limit: int = MAX_SPANS) -> tuple[Span, ...]:
    """Union of spans in at most `limit` ranges, closing the narrowest gaps first."""
    united = list(coalesce(spans))
    if len(united) <= limit:
        return tuple(united)
    gaps = sorted(range(1, len(united)), key=lambda i: united[i].start - united[i - 1].end, reverse=True)
    cuts = sorted(gaps[: limit - 1])
    edges = [0, *cuts, len(united)]
    return tuple(Span(united[a].start, united[b - 1].end) for a, b in pairwise(edges))


def _sealed_through(metric: Metric, previous: Publication | None, through: int) -> int:
    """Never moves back; after a change of the longest window it is aligned to the new one."""
    floored = floor_to(through, metric.granule_s)
    return floored if previous is None else max(floored, floor_to(previous.sealed_through, metric.granule_s))


def _count(span: Span, metric: Metric) -> int:
    return max(0, span.end - span.start) // metric.granule_s
