"""Events that silver gained between two of its versions, counted per minute of event time. Read without Spark.

The same small count serves twice: minutes below `sealed_through` make granules dirty, and all of them are what the
late ledger calls valid.
"""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from spark_jobs.delta_log import added_files, data_files, filesystem_of
from tidemark.contracts import ContractSet
from tidemark.keys import LakeTables

MINUTE_S = 60


def count_added(tables: LakeTables, contracts: ContractSet, after: int, upto: int) -> "Counter[int] | None":
    """Start second of a minute → events added to silver in `(after, upto]`. None when the log no longer says which."""
    files = added_files(tables.silver(contracts.name), after, upto)
    if files is None:
        return None
    return _count([file.uri for file in files], contracts.newest.event_time)


def count_all(tables: LakeTables, contracts: ContractSet, version: int) -> "Counter[int]":
    """The same for everything that silver holds at a version."""
    return _count(data_files(tables.silver(contracts.name), version), contracts.newest.event_time)


def _count(uris: list[str], event_time: str) -> "Counter[int]":
    minutes: Counter[int] = Counter()
    if not uris:
        return minutes
    paths = [filesystem_of(uri)[1] for uri in uris]
    schema = pa.schema([(event_time, pa.timestamp("us", tz="UTC"))])
    files = ds.dataset(paths, schema=schema, format="parquet", filesystem=filesystem_of(uris[0])[0])
    for batch in files.to_batches(columns=[event_time]):
        micros = batch.column(0).cast(pa.int64()).to_numpy(zero_copy_only=False)
        starts, events = np.unique(micros // (MINUTE_S * 1_000_000) * MINUTE_S, return_counts=True)
        minutes.update(dict(zip(starts.tolist(), events.tolist(), strict=True)))
    return minutes
