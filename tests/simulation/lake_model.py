"""The lake as readers and the batch see it: versions of silver and gold, and the table of publications."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from spark_jobs.sealed_rows import DAY_S, SealedWindow
from tests.simulation.definitions import CODECS, METRICS, Cell
from tidemark.keys import LakeTables
from tidemark.publication import Publication
from tidemark.windows import Span, coalesce, window_name

TABLES = LakeTables("/lake")
_UTC = pa.timestamp("us", tz="UTC")
Gold = dict[Cell, tuple[int, ...]]


class LakeModel:
    """`bronze`: records that it holds, a prefix of the source. `silver`: per version, records it was built from."""

    def __init__(self) -> None:
        self.bronze = 0
        self.silver: list[int] = []
        self.gold: dict[str, list[Gold]] = {name: [] for name in METRICS}
        self.publications: list[Publication] = []
        self._tables: dict[tuple[str, int], pa.Table] = {}

    def publication(self, metric: str, version: int | None) -> Publication | None:
        found = (each for each in self.publications if each.metric == metric and each.version == version)
        return next(found, None)

    def latest(self) -> dict[str, Publication]:
        return {each.metric: each for each in self.publications}

    def replace_gold(self, metric: str, spans: Sequence[Span], rows: Gold) -> int:
        """`replaceWhere` of some spans; the new version."""
        before = self.gold[metric][-1] if self.gold[metric] else {}
        kept = {cell: held for cell, held in before.items() if not _inside(cell[1], spans)}
        self.gold[metric].append(kept | {cell: held for cell, held in rows.items() if _inside(cell[1], spans)})
        return len(self.gold[metric]) - 1

    def read_windows(self, uri: str, version: int | None, spans: Iterable[Span]) -> Iterator[SealedWindow]:
        """In place of spark_jobs.sealed_rows.read_windows."""
        if version is None:
            return
        name = uri.rsplit("/", 1)[1]
        wanted, found = list(coalesce(spans)), dict[tuple[int, int], dict[bytes, bytes]]()
        for (length, start, key), partial in sorted(self.gold[name][version].items()):
            if _inside(start, wanted):
                found.setdefault((length, start), {})[key] = CODECS[name].encode(partial)
        for (length, start), partials in found.items():
            yield SealedWindow(length, start, partials)

    def first_day(self, uri: str, version: int | None) -> int | None:
        """In place of spark_jobs.sealed_rows.first_day."""
        rows = self.gold[uri.rsplit("/", 1)[1]][version] if version is not None else {}
        first = min((start for _, start, _ in rows), default=None)
        return None if first is None else first - first % DAY_S

    def rows(
        self, uri: str, version: int | None, where: pc.Expression | None, columns: Sequence[str] | None = None
    ) -> pa.Table | None:
        """In place of serving.lake_reader.LakeReader.rows."""
        if uri == TABLES.publications:
            records = [{"metric": p.metric, "version": p.version, "record": p.to_json()} for p in self.publications]
            return pa.Table.from_pylist(records).select(list(columns or ())) if records else None
        assert version is not None
        table = self._table(uri.rsplit("/", 1)[1], version)
        return (table if where is None else table.filter(where)).select(list(columns or table.column_names))

    def _table(self, name: str, version: int) -> pa.Table:
        if (name, version) not in self._tables:
            self._tables[name, version] = _gold_table(name, self.gold[name][version])
        return self._tables[name, version]


def _inside(start: int, spans: Sequence[Span]) -> bool:
    return any(span.start <= start < span.end for span in spans)


def _gold_table(name: str, rows: Gold) -> pa.Table:
    cells = sorted(rows)
    columns: dict[str, Any] = {
        "window": pa.array([window_name(length) for length, _, _ in cells], pa.string()),
        "window_start": pa.array([start * 1_000_000 for _, start, _ in cells], pa.int64()).cast(_UTC),
        "dims_key": pa.array([key.decode() for _, _, key in cells], pa.string()),
        "partial": pa.array([CODECS[name].encode(rows[cell]) for cell in cells], pa.binary()),
    }
    return pa.table(columns)
