"""The small tables beside gold: `_publications`, `_gates`, `_parity`. One commit each per batch, without Spark.

`_publications`, one row per (metric, version): the truth about what batch owns; `record` is the JSON `Publication`.
`_gates`, one row per gate that ran: stage, name, metric or contract, passed, the broken expectations, the evidence.
`_parity`, one row per (metric, window length) and batch: how what speed had served compares with what was sealed.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError

from spark_jobs.delta_log import open_table
from tidemark.errors import LakeUnavailable
from tidemark.keys import LakeTables
from tidemark.publication import Publication

_UTC = pa.timestamp("us", tz="UTC")

PUBLICATIONS = pa.schema(
    [
        ("metric", pa.string()),
        ("version", pa.int64()),
        ("family", pa.string()),
        ("sealed_through", _UTC),
        ("gold_version", pa.int64()),
        ("silver_version", pa.int64()),
        ("gate", pa.string()),
        ("published_at", _UTC),
        ("record", pa.string()),
    ]
)
GATES = pa.schema(
    [
        ("batch_id", pa.string()),
        ("checked_at", _UTC),
        ("stage", pa.string()),
        ("name", pa.string()),
        ("passed", pa.bool_()),
        ("failed", pa.list_(pa.string())),
        ("rows", pa.int64()),
        ("evidence", pa.string()),
    ]
)
PARITY = pa.schema(
    [
        ("batch_id", pa.string()),
        ("compared_at", _UTC),
        ("metric", pa.string()),
        ("family", pa.string()),
        ("window", pa.string()),
        ("from", _UTC),
        ("to", _UTC),
        ("windows", pa.int64()),
        ("mismatched", pa.int64()),
        ("not_compared", pa.int64()),
        ("max_relative_error", pa.float64()),
        ("version", pa.int64()),
    ]
)


def utc(instant: float) -> datetime:
    return datetime.fromtimestamp(instant, UTC)


def append_rows(uri: str, schema: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> None:
    """One commit with all rows; nothing for no rows. Raises LakeUnavailable."""
    if rows:
        _write(uri, pa.Table.from_pylist(list(rows), schema=schema), mode="append", schema_mode="merge")


def replace_parity(uri: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of `_parity` in place of those that a killed batch left for the same (metric, version). One commit."""
    if not rows:
        return
    table = pa.Table.from_pylist(list(rows), schema=PARITY)
    if open_table(uri) is None:
        _write(uri, table, mode="append")
        return
    same = sorted({f"(metric = '{row['metric']}' AND version = {row['version']})" for row in rows})
    _write(uri, table, mode="overwrite", predicate=" OR ".join(same))


def _write(uri: str, rows: pa.Table, **how: Any) -> None:
    try:
        write_deltalake(uri, rows, **how)
    except (DeltaError, OSError) as error:
        raise LakeUnavailable(f"lake: cannot write {uri}: {' '.join(str(error).split())}") from error


def latest_publications(tables: LakeTables, version: int | None = None) -> dict[str, Publication]:
    """metric → its newest publication, as of a version of the ledger (default: the newest)."""
    table = open_table(tables.publications, version)
    if table is None:
        return {}
    newest: dict[str, tuple[int, str]] = {}
    rows = table.to_pyarrow_table(columns=["metric", "version", "record"])
    for metric, version, record in zip(*(rows.column(name).to_pylist() for name in rows.column_names), strict=True):
        if metric not in newest or newest[metric][0] < version:
            newest[metric] = (version, record)
    return {metric: Publication.from_json(record) for metric, (_, record) in newest.items()}


def commit_publications(tables: LakeTables, publications: Sequence[Publication]) -> None:
    """The moment at which a batch becomes true, for all its metrics at once."""
    append_rows(tables.publications, PUBLICATIONS, [_publication_row(publication) for publication in publications])


def _publication_row(publication: Publication) -> dict[str, Any]:
    return {
        "metric": publication.metric,
        "version": publication.version,
        "family": publication.family,
        "sealed_through": utc(publication.sealed_through),
        "gold_version": publication.gold_version,
        "silver_version": publication.silver_version,
        "gate": publication.gate,
        "published_at": utc(publication.published_at),
        "record": publication.to_json(),
    }
