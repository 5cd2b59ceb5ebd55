"""The check of many records at once, in Arrow: the quick check takes what is certainly valid, the other the rest.

What comes out is what `record_check` says of each record, in the order of the records. No Spark here: this is what its
Python workers import.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quality.json_limits import MAX_RECORD_BYTES
from quality.quick_check import RECORDS, ROW, QuickCheck, Unsupported
from quality.record_check import CheckedRecord, RecordCheck
from tidemark.contracts import ContractSet, Field

_FEW = 1_000
"""Fewer records than these are checked one by one in the time that a statement takes to be planned."""
_VERSION = "~version"
_INSTANT = pa.timestamp("us", "UTC")
_ARROW = {
    "string": pa.string(),
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": _INSTANT,
    "map<string,string>": pa.map_(pa.string(), pa.string()),
}


@dataclass(frozen=True, slots=True)
class CheckedBatch:
    """`rows`: numbers of the valid records, ascending; `events`, typed and masked, and `versions` are theirs.

    `broken`: every other record's number, with its reasons. `texts`: all records, null for what is not UTF-8.
    """

    rows: pa.ChunkedArray
    events: pa.Table
    versions: pa.ChunkedArray
    broken: list[tuple[int, CheckedRecord]]
    texts: pa.StringArray


class BatchCheck:
    """The compiled check of one contract. `columns`: names of the fields that are wanted of an event, None for all."""

    def __init__(self, contract_set: ContractSet, columns: Collection[str] | None = None) -> None:
        self._columns = [field for field in contract_set.columns if columns is None or field.name in columns]
        self._schema = pa.schema([(field.name, arrow_type(field)) for field in self._columns])
        self._exact = RecordCheck(contract_set)
        self._quick: list[tuple[int, QuickCheck]] = []
        for contract in reversed(contract_set.versions):
            try:
                self._quick.append((contract.version, QuickCheck(contract, contract_set, self._columns)))
            except Unsupported:
                continue

    def judged(self, records: pa.RecordBatch, key: str) -> pa.RecordBatch:
        """Every record. In: value, then its position. Out: raw, raw_bytes, position, version, reasons, fields."""
        values, position = records.column("value").fill_null(b""), records.remove_column(0)
        checked = self.check(values, position["received_at"], key)
        reasons: list[Sequence[str]] = [()] * len(values)
        versions = np.full(len(values), -1, np.int32)
        versions[checked.rows.to_numpy()] = checked.versions.to_numpy()
        place = np.full(len(values), -1)
        place[checked.rows.to_numpy()] = np.arange(len(checked.rows))
        for row, record in checked.broken:
            reasons[row] = record.reasons
            versions[row] = -1 if record.contract_version is None else record.contract_version
        events = checked.events.take(pa.array(place, mask=place < 0)).combine_chunks()
        columns = {
            "raw": checked.texts,
            "raw_bytes": pc.if_else(pc.is_null(checked.texts), values, None),
            **{name: position[name] for name in position.schema.names},
            "contract_version": pa.array(versions, mask=versions < 0),
            "reasons": pa.array(reasons, pa.list_(pa.string())),
            **{name: _whole(events[name]) for name in events.column_names},
        }
        return pa.RecordBatch.from_pydict(columns)

    def valid(self, records: pa.RecordBatch, key: str) -> pa.RecordBatch:
        """The valid records. In: value, received_at; out: received_at, fields."""
        values, received_at = records.column("value").fill_null(b""), records.column("received_at")
        checked = self.check(values, received_at, key)
        events = checked.events.combine_chunks()
        columns = {name: _whole(events[name]) for name in events.column_names}
        return pa.RecordBatch.from_pydict({"received_at": received_at.take(_whole(checked.rows)), **columns})

    def check(self, values: pa.BinaryArray, received_at: pa.TimestampArray, key: str) -> CheckedBatch:
        """Judge the records; `key` masks personal fields."""
        texts = as_texts(values)
        numbers = pa.array(np.arange(len(values)))
        waiting = pa.table([numbers, texts, received_at.cast(_INSTANT)], schema=RECORDS)
        found: list[pa.Table] = []
        if len(values) >= _FEW:
            fits = pc.and_(pc.is_valid(texts), pc.less_equal(pc.binary_length(values), MAX_RECORD_BYTES))
            unfit, waiting = waiting.filter(pc.invert(fits)), waiting.filter(fits)
            for version, quick in self._quick:
                certain = quick.certain(waiting, key)
                found.append(self._part(certain[ROW], certain.drop_columns(ROW), [version] * certain.num_rows))
                waiting = waiting.filter(pc.invert(pc.is_in(waiting["row"], certain[ROW])))
            waiting = pa.concat_tables([waiting, unfit])
        valid, broken = self._judge(waiting, values, key)
        if valid.num_rows or not found:
            found.append(valid)
        whole = pa.concat_tables(found)
        if len(found) > 1:
            whole = whole.sort_by(ROW)  # of two records with one id the first must stay the first
        return CheckedBatch(whole[ROW], whole.drop_columns([ROW, _VERSION]), whole[_VERSION], broken, texts)

    def _judge(
        self, waiting: pa.Table, values: pa.BinaryArray, key: str
    ) -> tuple[pa.Table, list[tuple[int, CheckedRecord]]]:
        """One by one: the valid as a part, and the broken."""
        rows, moments = waiting["row"].to_pylist(), waiting["received_at"].to_pylist()
        judged = [
            (row, self._exact.check(values[row].as_py(), now, key)) for row, now in zip(rows, moments, strict=True)
        ]
        valid = [(row, record) for row, record in judged if not record.reasons]
        columns = [
            pa.array([arrow_value(field, (record.event or {})[field.name]) for _, record in valid], arrow_type(field))
            for field in self._columns
        ]
        numbers = pa.array([row for row, _ in valid], pa.int64())
        versions = [record.contract_version for _, record in valid]
        part = self._part(numbers, pa.table(columns, schema=self._schema), versions)
        return part, [(row, record) for row, record in judged if record.reasons]

    def _part(self, rows: pa.Array, events: pa.Table, versions: Sequence[int | None]) -> pa.Table:
        part = events.cast(self._schema).append_column(ROW, rows)
        return part.append_column(_VERSION, pa.array(versions, pa.int32()))


@lru_cache(maxsize=64)
def compiled_check(contract_set: ContractSet, columns: tuple[str, ...] | None) -> BatchCheck:
    """The check, compiled once a process: tasks come by the hundred."""
    return BatchCheck(contract_set, columns)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def as_texts(values: pa.BinaryArray) -> pa.StringArray:
    """The values as text, null for what is not UTF-8."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        sound = [value if _is_utf8(value) else None for value in values.to_pylist()]
        return pa.array(sound, pa.binary()).cast(pa.string())


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def arrow_type(field: Field) -> pa.DataType:
    """The Arrow type of a field's values."""
    if field.type.kind == "decimal":
        return pa.decimal128(field.type.precision, field.type.scale)
    if field.type.kind == "struct":
        return pa.struct([(child.name, arrow_type(child)) for child in field.fields])
    return _ARROW[field.type.kind]


def arrow_value(field: Field, value: Any) -> Any:
    """A value of the record check as `pa.array` takes it: a map is a list of its entries."""
    return list(value.items()) if field.type.kind.startswith("map") and value is not None else value
