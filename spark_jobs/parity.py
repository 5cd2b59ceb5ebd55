"""Parity: what speed had served against what batch sealed, for every window at the moment it is first sealed.

Compared are windows that speed covered in full: from where the family's coverage begins, and closed by the watermark
or with the whole source consumed. The others are counted as not compared. Equal bytes are equal; only others are
decoded and finalised. Late events make a mismatch by right: that difference is what parity is there to show.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import redis

from intake.position import Position, lag
from spark_jobs.ledgers import utc
from spark_jobs.plan import BEGINNING, MetricPlan
from spark_jobs.sealed_rows import first_day, read_windows
from tidemark import keys
from tidemark.metrics.final import is_estimate
from tidemark.metrics.model import Metric, Output
from tidemark.partials import PartialCodec, finalise
from tidemark.progress import Progress
from tidemark.windows import Span, window_name

SUM_TOLERANCE = 1e-9
SKETCH_TOLERANCE = 0.05
"""Relative; two sketches of the same events in another order differ within their declared errors."""


@dataclass(frozen=True, slots=True)
class Parity:
    """The comparison of one metric and window length. `max_relative_error` is over every output of every group."""

    window_s: int
    span: Span
    windows: int = 0
    mismatched: int = 0
    not_compared: int = 0
    max_relative_error: float = 0.0


def compare(
    client: "redis.Redis", plan: MetricPlan, gold_uri: str, gold_version: int | None, end: Position
) -> list[Parity]:
    """One `Parity` per declared window length, over the newly sealed windows; none when nothing was newly sealed.

    `end`: the source position that the barrier waited for; a lane that has consumed it has seen all that batch has.
    """
    metric, span = plan.metric, plan.newly_sealed
    if span.is_empty:
        return []
    covered = _covered_span(client, metric, span, end)
    speed = {w: _speed_starts(client, metric.family, w, covered) for w in metric.windows}
    tallies = {w: _Tally(metric, w) for w in metric.windows}
    first = first_day(gold_uri, gold_version)
    readable = span if first is None else Span(max(span.start, first), span.end)
    for sealed in read_windows(gold_uri, gold_version, [readable]) if first is not None else ():
        tally = tallies[sealed.window_s]
        if sealed.start < covered.start or sealed.start + sealed.window_s > covered.end:
            tally.not_compared += 1
            continue
        speed[sealed.window_s].discard(sealed.start)
        tally.add(_speed_partials(client, metric.family, sealed.window_s, sealed.start), sealed.partials)
    for window_s, only_speed in speed.items():
        for start in only_speed:
            tallies[window_s].add(_speed_partials(client, metric.family, window_s, start), {})
    return [tallies[window_s].result(span) for window_s in metric.windows]


def ledger_row(parity: Parity, metric: Metric, version: int, batch_id: str, now: float) -> dict[str, Any]:
    """The row of `gold/_parity`."""
    return {
        "batch_id": batch_id,
        "compared_at": utc(now),
        "metric": metric.name,
        "family": metric.family,
        "window": window_name(parity.window_s),
        "from": utc(max(parity.span.start, BEGINNING)),
        "to": utc(parity.span.end),
        "windows": parity.windows,
        "mismatched": parity.mismatched,
        "not_compared": parity.not_compared,
        "max_relative_error": parity.max_relative_error,
        "version": version,
    }


class _Tally:
    """Counts of one window length while windows are compared."""

    def __init__(self, metric: Metric, window_s: int) -> None:
        self._metric, self._codec, self._window_s = metric, PartialCodec(metric), window_s
        self.windows = self.mismatched = self.not_compared = 0
        self.worst = 0.0

    def add(self, speed: Mapping[bytes, bytes], batch: Mapping[bytes, bytes]) -> None:
        if not speed and not batch:
            return
        self.windows += 1
        differs = False
        for key in speed.keys() | batch.keys():
            error, allowed = self._difference(speed.get(key), batch.get(key))
            self.worst, differs = max(self.worst, error), differs or not allowed
        self.mismatched += differs

    def result(self, span: Span) -> Parity:
        return Parity(self._window_s, span, self.windows, self.mismatched, self.not_compared, self.worst)

    def _difference(self, speed: bytes | None, batch: bytes | None) -> tuple[float, bool]:
        """(largest relative error, whether all are within tolerance) of one group."""
        if speed == batch:
            return 0.0, True
        if speed is None or batch is None:
            return 1.0, False
        ours, theirs = (finalise(self._metric, self._codec.decode(each), self._window_s) for each in (speed, batch))
        errors = {name: _relative_error(ours[name], theirs[name]) for name in ours}
        allowed = all(errors[output.name] <= _tolerance(output) for output in self._metric.outputs)
        return max(errors.values(), default=0.0), allowed


def _tolerance(output: Output) -> float:
    """By output: what a metric counts exactly beside its sketches is compared exactly."""
    if is_estimate(output.final):
        return SKETCH_TOLERANCE
    return SUM_TOLERANCE if output.type == "double" else 0.0


def _relative_error(one: Any, other: Any) -> float:
    if one == other:
        return 0.0
    numbers = [value for value in (one, other) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 2:
        return 1.0
    return float(abs(one - other) / max(abs(one), abs(other)))


def _covered_span(client: "redis.Redis", metric: Metric, span: Span, end: Position) -> Span:
    """The part of the span that speed has seen in full; empty when speed never ran for this family."""
    text = client.get(keys.progress(metric.contract, metric.lane))
    progress = Progress.from_json(text) if isinstance(text, bytes) else None
    if progress is None or metric.family not in progress.families:
        return Span(span.end, span.end)
    covered_from = progress.families[metric.family]
    closed = span.end if lag(end, progress.position) == 0 else min(span.end, progress.watermark or BEGINNING)
    return Span(span.start if covered_from is None else max(span.start, covered_from), closed)


def _speed_starts(client: "redis.Redis", family: str, window_s: int, span: Span) -> set[int]:
    index = keys.speed_index(family, window_s)
    members: list[bytes] = client.zrangebyscore(index, span.start, f"({span.end}")  # type: ignore[assignment]
    return {int(member) for member in members if int(member) + window_s <= span.end}


def _speed_partials(client: "redis.Redis", family: str, window_s: int, start: int) -> dict[bytes, bytes]:
    return client.hgetall(keys.speed_window(family, window_s, start))  # type: ignore[return-value]
