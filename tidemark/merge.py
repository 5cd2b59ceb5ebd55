"""Batch + speed → answer.

Batch owns every window that ended at or before `sealed_through`; speed owns every later one; the answer adds their
partials, and says for each point which layer it came from.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tidemark.coverage import UNTRUSTED, Missing, SpeedState
from tidemark.dims import canonical_text, decode_texts, typed_value
from tidemark.errors import QueryError
from tidemark.metrics.final import Partial
from tidemark.metrics.model import Metric
from tidemark.partials import finalise, merge_partials
from tidemark.publication import Publication
from tidemark.windows import WINDOWS, Span, floor_to, iso, iso_micros, window_name

Texts = tuple[str | None, ...]
"""Canonical texts of the dims of a group, in the metric's order, restricted to the answer's dims."""


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


class Row(NamedTuple):
    """One stored partial: `start` of its base window, dims key, value."""

    start: int
    dims_key: bytes
    partial: Partial


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
    groups = _Groups(metric, query)
    sealed, unsealed = split(query.span, publication)
    groups.add(batch, "batch", sealed)
    groups.add(speed, "speed", unsealed)
    progress = state.progress if state else None
    order = [dim.name for dim in metric.dims if dim.name in query.dims]
    return {
        "metric": metric.name,
        "window": window_name(query.window_s),
        "from": iso(query.span.start),
        "to": iso(query.span.end),
        "dims": {n: typed_value(d, query.filters[n]) for n in query.filters if (d := metric.dim(n))},
        "group_by": order,
        "sealed_through": iso(publication.sealed_through) if publication else None,
        "batch_version": publication.version if publication else None,
        "speed_as_of": iso(progress.as_of) if progress else None,
        "watermark": iso(progress.watermark) if progress and progress.watermark is not None else None,
        "freshness_seconds": round(max(now - progress.as_of, 0.0), 3) if progress else None,
        "complete": not missing,
        "missing": [{"from": iso(m.span.start), "to": iso(m.span.end), "reason": m.reason.value} for m in missing],
        "points": groups.points(publication, progress.watermark if progress else None, missing),
    }


class _Groups:
    """Partials collected per (asked window, group), then merged and finalised."""

    def __init__(self, metric: Metric, query: Query) -> None:
        self._metric = metric
        self._query = query
        self._positions = [i for i, dim in enumerate(metric.dims) if dim.name in query.dims]
        self._filters = [(i, query.filters[d.name]) for i, d in enumerate(metric.dims) if d.name in query.filters]
        self._partials: dict[tuple[int, Texts], list[Partial]] = defaultdict(list)
        self._speed: set[tuple[int, Texts]] = set()
        self._texts: dict[bytes, Texts | None] = {}

    def add(self, rows: Iterable[Row], layer: str, span: Span) -> None:
        """Collect the rows of a layer whose base windows start in `span`, the layer's own part of the range."""
        window_s = self._query.window_s
        for row in rows:
            group = self._group(row.dims_key)
            if group is None or not span.start <= row.start < span.end:
                continue
            key = (floor_to(row.start, window_s), group)
            self._partials[key].append(row.partial)
            if layer == "speed":
                self._speed.add(key)

    def _group(self, dims_key: bytes) -> Texts | None:
        """The answer's group of a stored key; None when a filter excludes it."""
        if dims_key not in self._texts:
            texts = decode_texts(dims_key)
            fits = all(texts[i] == wanted for i, wanted in self._filters)
            self._texts[dims_key] = tuple(texts[i] for i in self._positions) if fits else None
        return self._texts[dims_key]

    def points(
        self, publication: Publication | None, watermark: int | None, missing: tuple[Missing, ...]
    ) -> list[dict[str, Any]]:
        untrusted = [gap.span for gap in missing if gap.reason in UNTRUSTED]
        window_s = self._query.window_s
        keys = [
            key
            for key in self._partials
            if not any(gap.start < key[0] + window_s and key[0] < gap.end for gap in untrusted)
        ]
        merged = {key: merge_partials(self._metric, self._partials[key]) for key in keys}
        rank = self._rank(merged)
        ordered = sorted((key for key in merged if key[1] in rank), key=lambda key: (key[0], rank[key[1]]))
        return [self._point(key, merged[key], publication, watermark) for key in ordered]

    def _rank(self, merged: Mapping[tuple[int, Texts], Partial]) -> dict[Texts, int]:
        """Group → its place. With `top` or `order_by`, by the measure over the whole range; ties by dims."""
        groups: dict[Texts, list[Partial]] = defaultdict(list)
        for (_, texts), partial in merged.items():
            groups[texts].append(partial)
        ordered = sorted(groups, key=lambda texts: [(text is not None, text or "") for text in texts])
        if self._query.top is not None or self._query.order_by is not None:
            ordered = self._by_measure(ordered, groups)[: self._query.top]
        return {texts: place for place, texts in enumerate(ordered)}

    def _by_measure(self, ordered: list[Texts], groups: Mapping[Texts, list[Partial]]) -> list[Texts]:
        order_by = self._query.order_by or f"-{self._metric.outputs[0].name}"
        name, sign = order_by.removeprefix("-"), -1 if order_by.startswith("-") else 1
        length = self._query.span.end - self._query.span.start
        measured: dict[Texts, Any] = {}
        for texts in ordered:
            measured[texts] = finalise(self._metric, merge_partials(self._metric, groups[texts]), length)[name]
        known = [texts for texts in ordered if measured[texts] is not None]
        return sorted(known, key=lambda texts: sign * measured[texts]) + [
            texts for texts in ordered if measured[texts] is None
        ]

    def _point(
        self, key: tuple[int, Texts], partial: Partial, publication: Publication | None, watermark: int | None
    ) -> dict[str, Any]:
        start, texts = key
        window_s = self._query.window_s
        dims = [self._metric.dims[i] for i in self._positions]
        sealed = publication is not None and start + window_s <= publication.sealed_through
        closed = watermark is not None and start + window_s <= watermark
        return {
            "start": iso(start),
            "end": iso(start + window_s),
            "dims": {dim.name: typed_value(dim, text) for dim, text in zip(dims, texts, strict=True)},
            "values": _json_values(self._metric, finalise(self._metric, partial, window_s)),
            "layer": "speed" if key in self._speed else "batch",
            "state": "sealed" if sealed else "closed" if closed else "open",
        }


def _json_values(metric: Metric, values: dict[str, Any]) -> dict[str, Any]:
    """Timestamps accumulate as microseconds; answers show instants."""
    instants = {output.name for output in metric.outputs if output.type == "timestamp"}
    return {n: iso_micros(v) if n in instants and v is not None else v for n, v in values.items()}
