"""What of a range no layer covers, and why. A gap is reported, never returned as a small number."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tidemark.metrics.model import Metric
from tidemark.progress import Progress
from tidemark.publication import Publication
from tidemark.windows import Span, coalesce, floor_to


class Reason(StrEnum):
    """Why a part of a range is missing."""

    EXPIRED = "expired"  # maintenance has deleted it, for it is older than the metric's `cold`
    NOT_COVERED = "not_covered"  # a hole between what batch sealed and what speed has seen
    SPEED_UNAVAILABLE = "speed_unavailable"  # Redis is down, or was lost and is not rebuilt
    SPEED_STOPPED = "speed_stopped"  # no stream runs, and the source holds records it has not read
    SPEED_STALE = "speed_stale"  # a stream runs, but it has fallen behind its limit
    LATE = "late"  # speed had to leave late events of this window to the batch
    METRIC_FAILED = "metric_failed"  # it fails when it runs: the stream has set it aside, the other metrics go on
    BATCH_ONLY = "batch_only"  # the metric has no speed view by its definition


UNTRUSTED = (Reason.EXPIRED, Reason.NOT_COVERED, Reason.SPEED_UNAVAILABLE, Reason.METRIC_FAILED, Reason.BATCH_ONLY)
"""Reasons under which a window's partial is not even a lower bound from its start: such points are left out."""


@dataclass(frozen=True, slots=True, order=True)
class Missing:
    """A range that the answer does not fully cover."""

    span: Span
    reason: Reason


@dataclass(frozen=True, slots=True)
class SpeedState:
    """What serving knows of the lane that holds a metric.

    `progress` None: Redis answers but has no record. `backlog`: records in the source that the lane has not read
    (None: unknown, treated as some). `late`: starts of buckets in which a late event was dropped, ascending.
    """

    progress: Progress | None
    alive: bool
    backlog: int | None
    late: Sequence[int] = ()


def find_missing(
    metric: Metric,
    publication: Publication | None,
    speed: SpeedState | None,
    span: Span,
    window_s: int,
    now: float,
    stale_after_s: float,
) -> tuple[Missing, ...]:
    """The uncovered parts of an aligned range, sorted; empty means the answer is complete.

    `speed` None means that Redis does not answer. `now` and `as_of` are wall-clock seconds; all else is event time.
    """
    sealed, found = span.start, list[Missing]()
    if publication is not None:
        sealed = publication.sealed_through
        if not (expired := publication.expired_in(span)).is_empty:
            found.append(Missing(expired, Reason.EXPIRED))
    ours = Span(max(span.start, sealed), span.end)
    if not ours.is_empty:
        found += _gaps(metric, publication, speed, ours, window_s, now, stale_after_s)
    if not found:
        return ()
    return tuple(
        Missing(part, reason)
        for reason in Reason
        for part in coalesce(gap.span for gap in found if gap.reason is reason)
    )


def _gaps(
    metric: Metric,
    publication: Publication | None,
    speed: SpeedState | None,
    ours: Span,
    window_s: int,
    now: float,
    stale_after_s: float,
) -> Iterator[Missing]:
    if metric.batch_only:
        yield Missing(ours, Reason.BATCH_ONLY)
        return
    if speed is None or speed.progress is None:
        nothing_ever_came = speed is not None and speed.backlog == 0 and publication is None
        if not nothing_ever_came:
            yield Missing(ours, Reason.SPEED_UNAVAILABLE)
        return
    progress = speed.progress
    if metric.name in progress.failed:
        yield Missing(ours, Reason.METRIC_FAILED)
        return
    if metric.family not in progress.families:
        yield Missing(ours, Reason.NOT_COVERED)
        return
    covered_from = progress.families[metric.family]
    if covered_from is not None and covered_from > ours.start:
        yield Missing(Span(ours.start, min(covered_from, ours.end)), Reason.NOT_COVERED)
    if speed.backlog != 0 and not (speed.alive and progress.is_fresh(now, stale_after_s)):
        edge = ours.start if progress.watermark is None else floor_to(progress.watermark, window_s)
        reason = Reason.SPEED_STALE if speed.alive else Reason.SPEED_STOPPED
        if edge < ours.end:
            yield Missing(Span(max(edge, ours.start), ours.end), reason)
    for bucket in speed.late:
        if ours.start <= bucket < ours.end:
            start = floor_to(bucket, window_s)
            yield Missing(Span(max(start, ours.start), min(start + window_s, ours.end)), Reason.LATE)
