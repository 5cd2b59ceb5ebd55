"""What batch owns: the publication in force and its sealed partials, from Redis while hot and from the lake always.

Everything one answer reads here goes through one Publication object: Redis keys carry the version that wrote them and
the lake is read at the Delta version it pins, so no answer mixes two batches, also when one lands in the middle.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from serving.lake_reader import LakeReader, equals
from serving.selection import Cells, Selection
from serving.views import Views
from tidemark import keys
from tidemark.errors import LakeUnavailable, ViewsUnavailable
from tidemark.metrics.model import Metric
from tidemark.publication import Publication
from tidemark.windows import Span, coalesce, starts, window_name

POINTER_FROM_LAKE_S = 1.0
"""How long a pointer read from the lake is used while Redis has none."""
CACHED_PARTIALS = 500_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BatchStore:
    """Sealed partials of one lake."""

    def __init__(self, views: Views, lake: LakeReader, tables: keys.LakeTables) -> None:
        self._views = views
        self._lake = lake
        self._tables = tables
        self._sealed = SealedCache(CACHED_PARTIALS)
        self._pointers: tuple[float, dict[str, Publication]] = (-POINTER_FROM_LAKE_S, {})

    async def publication_from_lake(self, metric: str) -> Publication | None:
        """The newest publication that the lake records: the truth, read when Redis is away or has lost the pointer.

        With nothing hot: hashes are as good as the pointer that was written after them, and may be those of a batch
        that died under the same number when it is not there.
        """
        publication = (await self.publications_from_lake()).get(metric)
        return publication and replace(publication, hot_from=publication.sealed_through)

    async def publications_from_lake(self) -> dict[str, Publication]:
        """metric → its newest publication. Raises LakeUnavailable."""
        read_at, known = self._pointers
        if time.monotonic() - read_at >= POINTER_FROM_LAKE_S:
            known = await asyncio.to_thread(newest_publications, self._lake, self._tables)
            self._pointers = (time.monotonic(), known)
        return known

    async def publications_in_force(self, metrics: Sequence[str]) -> dict[str, Publication]:
        """metric → publication, by the pointers in Redis, else by the lake. Raises LakeUnavailable."""
        names = list(metrics)
        try:
            found = await self._views.pipeline(lambda pipe: [pipe.get(keys.publication(name)) for name in names])
        except ViewsUnavailable:
            found = [None] * len(names)
        known = {name: Publication.from_json(text) for name, text in zip(names, found, strict=True) if text is not None}
        if len(known) == len(names):
            return known
        return {n: p for n, p in (await self.publications_from_lake()).items() if n in names} | known

    async def partials(
        self, metric: Metric, publication: Publication, window_s: int, span: Span, selection: Selection
    ) -> Cells:
        """Sealed partials of the windows in an aligned span below `sealed_through`. Raises LakeUnavailable."""
        hot = Span(max(span.start, publication.hot_from), span.end)
        cold = Span(span.start, min(span.end, publication.hot_from))
        found: Cells = {}
        lost: list[Span] = [] if cold.is_empty else [cold]
        if not hot.is_empty:
            found, gone = await self._hot(metric, publication, window_s, hot, selection)
            lost += gone
        for part in coalesce(lost):
            found |= await self._from_lake(metric, publication, window_s, part, selection)
        return found

    async def _hot(
        self, metric: Metric, publication: Publication, window_s: int, span: Span, selection: Selection
    ) -> tuple[Cells, list[Span]]:
        """What Redis holds, and the spans whose sealed hashes it does not (expired, lost, or Redis is away)."""
        asked = list(starts(span, window_s))
        names = [_hash_name(publication, window_s, start) for start in asked]
        try:
            windows = await self._hashes(names, selection)
        except ViewsUnavailable:
            return {}, [span]
        found: Cells = {}
        gone: list[Span] = []
        for start, window in zip(asked, windows, strict=True):
            if window is None:
                gone.append(Span(start, start + window_s))
            elif window:
                found[start] = window
        return found, gone

    async def _hashes(self, names: Sequence[str], selection: Selection) -> list[dict[bytes, bytes] | None]:
        """Per sealed hash its partials; None when the hash is not there."""
        if (key := selection.dims_key) is not None:
            rows = await self._views.field_of_each(names, key)
            return [None if mark is None else {} if packed is None else {key: packed} for packed, mark in rows]
        hashes = await self._views.whole_hashes(names)
        return [_without_sentinel(fields) if keys.SENTINEL in fields else None for fields in hashes]

    async def _from_lake(
        self, metric: Metric, publication: Publication, window_s: int, span: Span, selection: Selection
    ) -> Cells:
        if publication.gold_version is None:
            return {}
        key = (metric.family, window_s, span, publication.runs_in(span), selection)
        cells = self._sealed.get(key)
        if cells is None:
            cells = await asyncio.to_thread(self._scan, metric, publication, window_s, span, selection)
            self._sealed.put(key, cells)
        return dict(cells)

    def _scan(self, metric: Metric, publication: Publication, window_s: int, span: Span, selection: Selection) -> Cells:
        uri = self._tables.gold(metric.name)
        where = (pc.field("window") == window_name(window_s)) & _time_filter(span)
        where &= _entity_filter(metric, selection)
        rows = self._lake.rows(uri, publication.gold_version, where, ["window_start", "dims_key", "partial"])
        if rows is None:
            raise LakeUnavailable(f"{uri}: published at version {publication.gold_version}, but not there")
        return _cells(rows)

    async def latest_start(
        self, metric: Metric, publication: Publication, window_s: int, selection: Selection
    ) -> int | None:
        """Start of the newest sealed window that holds the entity. Raises LakeUnavailable."""
        hot = Span(publication.hot_from, publication.sealed_through)
        found = {} if hot.is_empty else await self.partials(metric, publication, window_s, hot, selection)
        beginning = BEGINNING if publication.kept_from is None else publication.kept_from
        if not found and hot.start > beginning:
            older = Span(beginning, min(hot.start, publication.sealed_through))
            found = await self._from_lake(metric, publication, window_s, older, selection)
        return max(found, default=None)


BEGINNING = -62_135_596_800
"""0001-01-01T00:00:00Z, an edge of every window."""


class SealedCache:
    """Least-recently-used cells by what they were read from: the keys hold the runs, so an entry is never outdated."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[object, Cells] = OrderedDict()
        self._weight = 0

    def get(self, key: object) -> Cells | None:
        cells = self._entries.get(key)
        if cells is not None:
            self._entries.move_to_end(key)
        return cells

    def put(self, key: object, cells: Cells) -> None:
        self._discard(key)
        self._entries[key] = cells
        self._weight += _weight(cells)
        while self._weight > self._limit and self._entries:
            self._discard(next(iter(self._entries)))

    def _discard(self, key: object) -> None:
        old = self._entries.pop(key, None)
        self._weight -= _weight(old) if old is not None else 0


def newest_publications(lake: LakeReader, tables: keys.LakeTables) -> dict[str, Publication]:
    """metric → its newest publication in `gold/_publications`."""
    rows = lake.rows(tables.publications, None, None, ["metric", "version", "record"])
    if rows is None:
        return {}
    newest: dict[str, tuple[int, str]] = {}
    for metric, version, record in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        if metric not in newest or newest[metric][0] < version:
            newest[metric] = (version, record)
    return {metric: Publication.from_json(record) for metric, (_, record) in newest.items()}


def _hash_name(publication: Publication, window_s: int, start: int) -> str:
    version = publication.version_of(start) or publication.version
    return keys.batch_window(publication.family, window_s, start, version)


def _time_filter(span: Span) -> pc.Expression:
    kind = pa.timestamp("us", tz="UTC")
    first, end = (pa.scalar(_EPOCH + timedelta(seconds=edge), kind) for edge in (span.start, span.end))
    return (pc.field("window_start") >= first) & (pc.field("window_start") < end)


def _entity_filter(metric: Metric, selection: Selection) -> pc.Expression:
    if selection.dims_key is not None:
        return equals("dims_key", selection.dims_key.decode())
    where = pc.scalar(True)
    for name, text in selection.filters:
        dim = metric.dim(name)
        assert dim is not None
        where &= equals(name, _column_value(dim.type, text))
    return where


def _column_value(kind: str, text: str | None) -> pa.Scalar | None:
    """The canonical text of a dimension as a value of its gold column."""
    if text is None or kind == "string":
        return None if text is None else pa.scalar(text)
    if kind == "long":
        return pa.scalar(int(text))
    if kind == "boolean":
        return pa.scalar(text == "true")
    return pa.scalar(int(text), pa.timestamp("us", tz="UTC"))


def _cells(rows: pa.Table) -> Cells:
    cells: Cells = {}
    at = rows["window_start"].cast(pa.timestamp("s", tz="UTC")).cast(pa.int64()).to_pylist()
    for start, key, packed in zip(at, rows["dims_key"].to_pylist(), rows["partial"].to_pylist(), strict=True):
        cells.setdefault(start, {})[key.encode()] = packed
    return cells


def _without_sentinel(fields: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {field: packed for field, packed in fields.items() if field != keys.SENTINEL}


def _weight(cells: Cells) -> int:
    return 1 + sum(map(len, cells.values()))
