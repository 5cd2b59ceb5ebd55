"""Counts per contract that add up, from the lake, with DuckDB, without a JVM.

received = distinct valid + quarantined + duplicates, exactly, over what the lake holds. Arrivals are ordered by
(received_at, source, partition, offset): the first arrival of an event id is the valid one, a later one with the same
fields is a duplicate, with other fields it is quarantined (by the next batch).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow.compute as pc

from serving.lake_reader import LakeReader
from tidemark.contracts import ContractSet
from tidemark.fields import Field
from tidemark.keys import LakeTables

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

STAGE_CONTRACT = "contract"

_ARRIVALS = """
CREATE OR REPLACE TEMP TABLE arrivals AS
SELECT {dedupe} AS id, hash({columns}) AS payload, count(*) AS n,
       min(struct_pack(a := received_at, b := source, c := source_partition, d := source_offset)) AS arrived,
       arg_min(CAST(floor(epoch({event_time}) / 60) AS BIGINT) * 60,
               struct_pack(a := received_at, b := source, c := source_partition, d := source_offset)) AS minute
FROM events GROUP BY ALL
"""
_FIRSTS = """
CREATE OR REPLACE TEMP TABLE firsts AS
SELECT id, arg_min(n, arrived) AS same, sum(n) AS n, arg_min(minute, arrived) AS minute FROM arrivals GROUP BY id
"""
_COUNTS = "SELECT coalesce(sum(n), 0), count(*), coalesce(sum(same - 1), 0), coalesce(sum(n - same), 0) FROM firsts"


@dataclass(frozen=True, slots=True)
class LakeCounts:
    """Records of one contract in the lake. `per_minute`: event minute → distinct valid events."""

    received: int
    valid: int
    quarantined: int
    duplicates: int
    per_minute: Mapping[int, int]


def count_contract(lake: LakeReader, tables: LakeTables, contract: ContractSet) -> LakeCounts:
    """Raises LakeUnavailable."""
    events = lake.dataset(tables.bronze_events(contract.name))
    refused = _refused(lake.dataset(tables.bronze_quarantine(contract.name)))
    if events is None:
        return LakeCounts(refused, 0, refused, 0, {})
    with duckdb.connect() as connection:
        connection.register("events", events)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(_arrivals_sql(contract, set(events.schema.names)))
        connection.execute(_FIRSTS)
        rows, valid, duplicates, conflicts = _row(connection, _COUNTS)
        minutes = connection.execute("SELECT minute, count(*) FROM firsts GROUP BY minute").fetchall()
    return LakeCounts(rows + refused, valid, refused + conflicts, duplicates, dict(minutes))


def _arrivals_sql(contract: ContractSet, present: set[str]) -> str:
    columns = [term for column in contract.columns if column.name in present for term in _payload_terms(column)]
    newest = contract.newest
    return _ARRIVALS.format(
        dedupe=_quoted(newest.dedupe), columns=", ".join(columns), event_time=_quoted(newest.event_time)
    )


def _payload_terms(column: Field) -> list[str]:
    """What of a column tells payloads apart, as the batch does: a map without its order, -0.0 unlike 0.0."""
    name, kind = _quoted(column.name), column.type.kind
    if kind.startswith("map"):
        return [f"list_sort(map_entries({name}))"]
    return [name, f"CAST({name} AS VARCHAR)"] if kind in ("double", "struct") else [name]


def _refused(quarantine: "Dataset | None") -> int:
    """Records that broke the contract; those that the batch put there are still rows of bronze."""
    if quarantine is None:
        return 0
    if "stage" not in quarantine.schema.names:
        return int(quarantine.count_rows())
    return int(quarantine.count_rows(filter=pc.field("stage") == STAGE_CONTRACT))


def _row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[int, ...]:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return tuple(int(value) for value in row)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def count_late(
    per_minute: Mapping[int, int], accepted: Mapping[int, int] | None, ledger: Mapping[int, int], watermark: int | None
) -> int:
    """Valid events that speed had to leave to the batch: of the minutes that the watermark has passed, those that it
    did not accept. The watermark is exclusive: an event of its own minute may still come. `accepted` None: Redis is
    away; `ledger`: accepted per minute as earlier batches recorded it.
    """
    if watermark is None:
        return 0
    known = {**ledger, **(accepted or {})}
    if accepted is None:
        per_minute = {minute: valid for minute, valid in per_minute.items() if minute in ledger}
    passed = {minute: valid for minute, valid in per_minute.items() if minute < watermark}
    return sum(max(0, valid - known.get(minute, 0)) for minute, valid in passed.items())
