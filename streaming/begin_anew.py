"""What a checkpoint that begins anew has to know of those before it, from what the lake holds.

Speed: batch owns everything before `sealed_through`, so the views count from there. Lake: bronze has records that their
source still offers, and they must not come in twice.
"""

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

import pyarrow.compute as pc
from deltalake import DeltaTable
from pyarrow import fs
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.locations import is_remote
from streaming.lake_fence import LakeFence, open_table
from tidemark.errors import Fault
from tidemark.keys import LakeTables
from tidemark.metrics.model import Metric
from tidemark.publication import Publication

_ARRIVAL = ("source", "source_partition", "source_offset", "received_at")
"""Names a record for good: a topic that was made anew uses its offsets again, but not at the same time."""


def sealed_since(tables: LakeTables, metrics: Iterable[Metric]) -> int | None:
    """Event time before which batch owns every window of these metrics; None when one was never published."""
    sealed = _sealed_through(tables)
    edges = [sealed.get(metric.name) for metric in metrics]
    return min((edge for edge in edges if edge is not None), default=None) if None not in edges else None


def take_over_bronze(tables: LakeTables, contract: str) -> dict[str, Any]:
    """Fields of a lake writer's first note: its epoch, which bronze it finds, and the counts that go on from it."""
    epoch = LakeFence(tables, contract).claim()
    names = (tables.bronze_events(contract), tables.bronze_quarantine(contract))
    found = {name: table for name in names if (table := open_table(name)) is not None and table.file_uris()}
    if not found:
        return {"epoch": epoch}
    counted = {name: _records(table) for name, table in found.items()}
    valid, quarantined = (counted.get(name, 0) for name in names)
    return {
        "epoch": epoch,
        "held": {name: table.version() for name, table in found.items()},
        "held_until": max(str(part["ingest_date"]) for table in found.values() for part in table.partitions()),
        "records": {"received": valid + quarantined, "valid": valid, "quarantined": quarantined},
    }


def drop_held(parsed: DataFrame, spark: SparkSession, held: Mapping[str, int], first: Any, last: Any) -> DataFrame:
    """Records that no held table has. `first`, `last`: the days on which those in `parsed` were received."""
    tables = (spark.read.format("delta").option("versionAsOf", version).load(uri) for uri, version in held.items())
    days = (table.where(F.col("ingest_date").between(first, last)).select(*_ARRIVAL) for table in tables)
    return parsed.join(reduce(DataFrame.unionByName, days), list(_ARRIVAL), "left_anti")


def days_received(parsed: DataFrame) -> tuple[Any, Any]:
    """(first, last) day of reception; None for both without records."""
    day = F.to_date("received_at")
    first, last = parsed.agg(F.min(day), F.max(day)).first()  # type: ignore[misc]
    return first, last


def has_checkpoint(uri: str) -> bool:
    """Whether there is anything where a query's checkpoint belongs."""
    files, root = _located(uri)
    return bool(files.get_file_info(root).type != fs.FileType.NotFound)


def remove_checkpoint(uri: str) -> bool:
    """Delete a query's checkpoint; whether there was one. A kill in the middle leaves none that could be believed.

    Its note goes first: without it, whatever is left has another identity and knows what bronze holds.
    """
    if not has_checkpoint(uri):
        return False
    files, root = _located(uri)
    try:
        note = f"{root}/tidemark.json"
        if files.get_file_info(note).type == fs.FileType.File:
            files.delete_file(note)
        files.delete_dir(root)
    except OSError as error:
        raise Fault(f"checkpoint {uri}: cannot be removed: {error}") from error
    return True


def _located(uri: str) -> tuple[fs.FileSystem, str]:
    if not is_remote(uri):
        return fs.LocalFileSystem(), uri
    files, path = fs.FileSystem.from_uri(uri.replace("s3a://", "s3://", 1))
    return files, path


def _records(table: DeltaTable) -> int:
    """Rows but for those that a batch moved to the quarantine, which are still rows of events."""
    dataset = table.to_pyarrow_dataset()
    wanted = pc.field("stage") == "contract" if "stage" in dataset.schema.names else None
    return int(dataset.count_rows(filter=wanted))


def _sealed_through(tables: LakeTables) -> dict[str, int]:
    """metric → `sealed_through` of its newest publication."""
    table = open_table(tables.publications)
    if table is None:
        return {}
    rows = table.to_pyarrow_table(columns=["version", "record"]).sort_by("version")
    newest = (Publication.from_json(record) for record in rows.column("record").to_pylist())
    return {publication.metric: publication.sealed_through for publication in newest}
