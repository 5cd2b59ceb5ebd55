"""Records → typed, masked events, or the reasons why they break their contract: the batch check inside Spark.

Input columns: value (binary), received_at (timestamp), source (string), source_partition (int), source_offset (bigint).
No input can make the query fail.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import DataFrame

from conf.settings import Settings
from runtime.python_worker import keep_archives, keep_objects
from tidemark.contracts import ContractSet

if TYPE_CHECKING:
    from quality.batch_check import BatchCheck

POSITION = ("received_at", "source", "source_partition", "source_offset")
_POSITION_DDL = "received_at TIMESTAMP, source STRING, source_partition INT, source_offset BIGINT"


def event_columns(contract_set: ContractSet) -> list[str]:
    """Names of the contract's columns, in the order in which `parse_events` and the lake have them."""
    return [field.name for field in contract_set.columns]


def parse_events(records: DataFrame, contract_set: ContractSet, settings: Settings) -> DataFrame:
    """raw, raw_bytes, position, contract_version, reasons (empty = valid), then every field, typed and masked.

    One row in, one row out. `raw` is null and `raw_bytes` set where the value is not UTF-8. `contract_version` is null
    where the record names none that we know. The fields of a row with reasons are null.
    """
    key = _pseudonym_key(contract_set, settings)

    def judge(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        check = _check_in_worker(contract_set, None)
        return (check.judged(batch, key) for batch in batches if batch.num_rows)

    schema = (
        f"raw STRING, raw_bytes BINARY, {_POSITION_DDL}, contract_version INT, reasons ARRAY<STRING>, "
        f"{_fields_ddl(contract_set, event_columns(contract_set))}"
    )
    return records.select("value", *POSITION).mapInArrow(judge, schema)


def valid_events(
    records: DataFrame, contract_set: ContractSet, settings: Settings, columns: Collection[str]
) -> DataFrame:
    """received_at and these fields, typed and masked, of the valid records only."""
    key = _pseudonym_key(contract_set, settings)
    wanted = tuple(name for name in event_columns(contract_set) if name in columns)

    def judge(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        check = _check_in_worker(contract_set, wanted)
        return (check.valid(batch, key) for batch in batches if batch.num_rows)

    schema = f"received_at TIMESTAMP, {_fields_ddl(contract_set, wanted)}"
    return records.select("value", "received_at").mapInArrow(judge, schema)


def _check_in_worker(contract_set: ContractSet, columns: tuple[str, ...] | None) -> "BatchCheck":
    """The check, in a worker that from then on does nothing for a task but the task."""
    from quality.batch_check import compiled_check  # the driver has no use for DuckDB

    keep_archives()
    check = compiled_check(contract_set, columns)
    keep_objects()
    return check


def _pseudonym_key(contract_set: ContractSet, settings: Settings) -> str:
    return settings.resolve_pseudonym_key() if any(field.pii for field in contract_set.columns) else ""


def _fields_ddl(contract_set: ContractSet, names: Collection[str]) -> str:
    return ", ".join(f"`{field.name}` {field.spark_type}" for field in contract_set.columns if field.name in names)
