"""Batch + speed → answer.

Batch owns every window that ended at or before `sealed_through`; speed owns every later one; the answer adds their
partials, and says for each point which layer it came from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tidemark.coverage import Missing, SpeedState
from tidemark.dims import canonical_text, typed_value
from tidemark.errors import QueryError
from tidemark.metrics.model import Metric
from tidemark.points import Groups, Row
from tidemark.publication import Publication
from tidemark.windows import WINDOWS, Span, iso, window_name


@dataclass(frozen=True, slots=True)
class Query:
    """A checked question. `span` is aligned to `window_s`; `filters` hold canonical texts (see tidemark.dims)."""

    metric: str
    window_s: int
    span: Span
    filters: Mapping[str, str] = field(default_factory=dict)
    group_by: tuple[str, ...] = ()
    top: int | None = None
    order_by: str | None = None
    strict: bool = False

    @property
    def dims(self) -> frozenset[str]:
        """Dimensions that the points carry: filtered or grouped by. The others are rolled up."""
        return frozenset(self.filters) | frozenset(self.group_by)


def base_window(metric: Metric, window_s: int) -> int:
    """The declared window to read for an asked one: itself, or the longest that divides it.

    QueryError when neither exists; so `1h` of a metric with `[10m, 30m]` is composed from its 30-minute partials.
    """
    fitting = [declared for declared in metric.windows if window_s % declared == 0]
    if window_s not in WINDOWS.values() or not fitting:
        declared = ", ".join(window_name(s) for s in metric.windows)
        raise QueryError("window", f"{metric.name} has {declared}; an asked window must be a multiple of one of them")
    return max(fitting)


def split(span: Span, publication: Publication | None) -> tuple[Span, Span]:
    """A range cut at `sealed_through`: (what batch answers, what speed answers)."""
    cut = publication.sealed_through if publication else span.start
    cut = min(max(cut, span.start), span.end)
    return Span(span.start, cut), Span(cut, span.end)


def check_dims(metric: Metric, filters: Mapping[str, str], group_by: Iterable[str]) -> dict[str, str]:
    """Filters with canonical texts. QueryError names the parameter that mentions an unknown dimension."""
    known = ", ".join(dim.name for dim in metric.dims) or "none"
    for name in group_by:
        if metric.dim(name) is None:
            raise QueryError("group_by", f"{metric.name} has no dimension {name!r}; it has {known}")
    checked: dict[str, str] = {}
    for name, text in filters.items():
        dim = metric.dim(name)
        if dim is None:
            raise QueryError("dim", f"{metric.name} has no dimension {name!r}; it has {known}")
        checked[name] = canonical_text(dim, text)
    return checked


def merge_answer(
    metric: Metric,
    query: Query,
    publication: Publication | None,
    batch: Iterable[Row],
    speed: Iterable[Row],
    state: SpeedState | None,
    missing: tuple[Missing, ...],
    now: float,
) -> dict[str, Any]:
    """The answer as a JSON-ready mapping (INTERFACES §5).

    `batch` holds rows of base windows, of which those below `sealed_through` count, `speed` those of which the ones
    from there on count; rows outside the filters are ignored, too, so a reader may over-fetch.
    """
    head = describe_answer(metric, query, publication, state, missing, now)
    return head | {"points": merge_points(metric, query, publication, batch, speed, state, missing)}


def describe_answer(
    metric: Metric,
    query: Query,
    publication: Publication | None,
    state: SpeedState | None,
    missing: tuple[Missing, ...],
    now: float,
) -> dict[str, Any]:
    """An answer without its points: what was asked, what it rests on, and what of the range is missing."""
    progress = state.progress if state else None
    return {
        "metric": metric.name,
        "window": window_name(query.window_s),
        "from": iso(query.span.start),
        "to": iso(query.span.end),
        "dims": {n: typed_value(d, query.filters[n]) for n in query.filters if (d := metric.dim(n))},
        "group_by": [dim.name for dim in metric.dims if dim.name in query.dims],
        "sealed_through": iso(publication.sealed_through) if publication else None,
        "batch_version": publication.version if publication else None,
        "speed_as_of": iso(progress.as_of) if progress else None,
        "watermark": iso(progress.watermark) if progress and progress.watermark is not None else None,
        "freshness_seconds": round(max(now - progress.as_of, 0.0), 3) if progress else None,
        "complete": not missing,
        "missing": [{"from": iso(m.span.start), "to": iso(m.span.end), "reason": m.reason.value} for m in missing],
    }


def merge_points(
    metric: Metric,
    query: Query,
    publication: Publication | None,
    batch: Iterable[Row],
    speed: Iterable[Row],
    state: SpeedState | None,
    missing: tuple[Missing, ...],
) -> list[dict[str, Any]]:
    """The points of an answer, ordered by window, then by group or rank.

    Unless groups are ranked, the points of a range are those of its parts, one after the other.
    """
    groups = Groups(metric, query)
    sealed, unsealed = split(query.span, publication)
    groups.add(batch, "batch", sealed)
    groups.add(speed, "speed", unsealed)
    return groups.points(publication, state.progress.watermark if state and state.progress else None, missing)
