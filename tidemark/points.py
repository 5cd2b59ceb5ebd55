"""From stored partials to the points of an answer: collect by (asked window, group), merge, finalise, order."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tidemark.coverage import UNTRUSTED, Missing
from tidemark.dims import decode_texts, typed_value
from tidemark.metrics.final import Partial
from tidemark.metrics.model import Metric
from tidemark.partials import finalise, merge_partials
from tidemark.publication import Publication
from tidemark.windows import Span, floor_to, iso, iso_micros

if TYPE_CHECKING:
    from tidemark.merge import Query

Texts = tuple[str | None, ...]
"""Canonical texts of the dims of a group, in the metric's order, restricted to the answer's dims."""


class Row(NamedTuple):
    """One stored partial: `start` of its base window, dims key, value."""

    start: int
    dims_key: bytes
    partial: Partial


class Edges(NamedTuple):
    """Below `sealed` a window is sealed, below `closed` (the watermark) it is closed, else it is open."""

    sealed: int | None
    closed: int | None

    def state(self, end: int) -> str:
        if self.sealed is not None and end <= self.sealed:
            return "sealed"
        return "closed" if self.closed is not None and end <= self.closed else "open"


class Groups:
    """Partials collected per (asked window, group), then merged and finalised."""

    def __init__(self, metric: Metric, query: "Query") -> None:
        self._metric = metric
        self._query = query
        self._positions = [i for i, dim in enumerate(metric.dims) if dim.name in query.dims]
        self._filters = [(i, query.filters[d.name]) for i, d in enumerate(metric.dims) if d.name in query.filters]
        self._partials: dict[tuple[int, Texts], list[Partial]] = defaultdict(list)
        self._speed: set[tuple[int, Texts]] = set()
        self._texts: dict[bytes, Texts | None] = {}
        self._shown: dict[Texts, dict[str, Any]] = {}

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
        keys: Iterable[tuple[int, Texts]] = self._partials
        if untrusted := [gap.span for gap in missing if gap.reason in UNTRUSTED]:
            window_s = self._query.window_s
            keys = [
                key
                for key in self._partials
                if not any(gap.start < key[0] + window_s and key[0] < gap.end for gap in untrusted)
            ]
        held = self._partials
        merged = {k: held[k][0] if len(held[k]) == 1 else merge_partials(self._metric, held[k]) for k in keys}
        rank = self._rank(merged)
        ordered = sorted((key for key in merged if key[1] in rank), key=lambda key: (key[0], rank[key[1]]))
        edges = Edges(publication.sealed_through if publication else None, watermark)
        return [self._point(key, merged[key], edges) for key in ordered]

    def _rank(self, merged: Mapping[tuple[int, Texts], Partial]) -> dict[Texts, int]:
        """Group → its place. With `top` or `order_by`, by the measure over the whole range; ties by dims."""
        if self._query.top is not None or self._query.order_by is not None:
            ordered = self._by_measure(merged)[: self._query.top]
        else:
            ordered = sorted({texts for _, texts in merged}, key=_by_text)
        return {texts: place for place, texts in enumerate(ordered)}

    def _by_measure(self, merged: Mapping[tuple[int, Texts], Partial]) -> list[Texts]:
        """Groups without a value come last."""
        groups: dict[Texts, list[Partial]] = defaultdict(list)
        for (_, texts), partial in merged.items():
            groups[texts].append(partial)
        order_by = self._query.order_by or f"-{self._metric.outputs[0].name}"
        name, sign = order_by.removeprefix("-"), -1 if order_by.startswith("-") else 1
        length = self._query.span.end - self._query.span.start
        measured: dict[Texts, Any] = {}
        for texts, partials in groups.items():
            measured[texts] = finalise(self._metric, merge_partials(self._metric, partials), length)[name]
        known = [texts for texts in measured if measured[texts] is not None]
        unknown = sorted((texts for texts in measured if measured[texts] is None), key=_by_text)
        return sorted(known, key=lambda texts: (sign * measured[texts], _by_text(texts))) + unknown

    def _point(self, key: tuple[int, Texts], partial: Partial, edges: Edges) -> dict[str, Any]:
        start, texts = key
        end = start + self._query.window_s
        values = show_instants(self._metric, finalise(self._metric, partial, self._query.window_s))
        return {
            "start": iso(start),
            "end": iso(end),
            "dims": self._dims(texts),
            "values": values,
            "layer": "speed" if key in self._speed else "batch",
            "state": edges.state(end),
        }

    def _dims(self, texts: Texts) -> dict[str, Any]:
        """A group's dimensions as the answer shows them: one mapping, shared by the group's points."""
        if texts not in self._shown:
            dims = [self._metric.dims[i] for i in self._positions]
            self._shown[texts] = {dim.name: typed_value(dim, text) for dim, text in zip(dims, texts, strict=True)}
        return self._shown[texts]


def show_instants(metric: Metric, values: dict[str, Any]) -> dict[str, Any]:
    """Finished values as answers show them: timestamps, which accumulate as microseconds, become ISO 8601. In place."""
    for output in metric.outputs:
        if output.type == "timestamp" and values[output.name] is not None:
            values[output.name] = iso_micros(values[output.name])
    return values


def _by_text(texts: Texts) -> list[tuple[bool, str]]:
    return [(text is not None, text or "") for text in texts]
