"""Sealed partials read back from gold at a pinned version, without Spark: for Redis, and for parity."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from spark_jobs.delta_log import open_table
from spark_jobs.ledgers import utc
from tidemark.windows import Span, coalesce, window_seconds

DAY_S = 86_400


class SealedWindow(NamedTuple):
    """All groups of one window: dims key → packed partial."""

    window_s: int
    start: int
    partials: dict[bytes, bytes]


def read_windows(uri: str, version: int | None, spans: Iterable[Span]) -> Iterator[SealedWindow]:
    """The windows of the spans that have rows, a day at a time so that memory stays bounded."""
    table = open_table(uri, version) if version is not None else None
    if table is None:
        return
    files = table.to_pyarrow_dataset()
    for span in coalesce(spans):
        for start in range(span.start - span.start % DAY_S, span.end, DAY_S):
            yield from _windows(_rows(files, Span(max(start, span.start), min(start + DAY_S, span.end))))


def first_day(uri: str, version: int | None) -> int | None:
    """Start of the first day that has rows at a version; None without rows."""
    table = open_table(uri, version) if version is not None else None
    days = [str(partition["window_date"]) for partition in table.partitions()] if table else []
    return int(np.datetime64(min(days), "s").astype("int64")) if days else None


def _rows(files: ds.Dataset, span: Span) -> pa.Table:
    at = ds.field("window_start")
    day = ds.field("window_date") == pa.scalar(utc(span.start).date())
    inside = (at >= pa.scalar(utc(span.start), pa.timestamp("us", "UTC"))) & (
        at < pa.scalar(utc(span.end), pa.timestamp("us", "UTC"))
    )
    columns = ["window", "window_start", "dims_key", "partial"]
    rows = files.to_table(columns=columns, filter=day & inside)
    return rows.sort_by([("window", "ascending"), ("window_start", "ascending")])


def _windows(rows: pa.Table) -> Iterator[SealedWindow]:
    if not rows.num_rows:
        return
    names = rows.column("window").to_numpy()
    starts = rows.column("window_start").cast(pa.int64()).to_numpy() // 1_000_000
    changes = np.flatnonzero((names[1:] != names[:-1]) | (starts[1:] != starts[:-1])) + 1
    edges = [0, *changes.tolist(), rows.num_rows]
    for first, end in pairwise(edges):
        part = rows.slice(first, end - first)
        keys = (key.encode() for key in part.column("dims_key").to_pylist())
        partials = dict(zip(keys, part.column("partial").to_pylist(), strict=True))
        yield SealedWindow(window_seconds(names[first]), int(starts[first]), partials)
