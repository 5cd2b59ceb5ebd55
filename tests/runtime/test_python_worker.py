"""What a worker keeps from one task to the next: directories of archives, and objects that are no garbage."""

import gc
import importlib
import subprocess
import sys
import zipfile
import zipimport
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from conf.settings import PACKAGED, Settings
from runtime.python_worker import keep_archives
from tidemark.metrics.registry import load_registry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_an_archive_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "some.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("tidemark_first.py", "NAME = 'first'")
        written.writestr("tidemark_second.py", "NAME = 'second'")
    monkeypatch.syspath_prepend(str(archive))
    assert importlib.import_module("tidemark_first").NAME == "first"
    keep_archives()

    def refuse(_archive: str) -> dict[str, object]:
        raise AssertionError("the archive is read again")

    monkeypatch.setattr(zipimport, "_read_directory", refuse)
    importlib.invalidate_caches()
    assert importlib.import_module("tidemark_second").NAME == "second"
    for name in ("tidemark_first", "tidemark_second"):
        sys.modules.pop(name)
    sys.path_importer_cache.pop(str(archive))


def test_what_a_process_holds_is_left_to_the_first_call() -> None:
    program = """
import gc
from runtime.python_worker import keep_objects
held = len(gc.get_objects())
keep_objects()
kept = gc.get_freeze_count()
assert kept >= held, (kept, held)
more = [[number] for number in range(1000)]
keep_objects()
assert gc.get_freeze_count() <= kept + 10, "a later task's objects are garbage one day"
cycle = []
cycle.append(cycle)
del cycle
assert gc.collect() >= 1
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.spark
def test_the_workers_that_checked_records_are_such_processes(spark: "SparkSession", settings: Settings) -> None:
    from quality.stream_check import parse_events

    values = "cast('' as binary) as value, current_timestamp() as received_at"
    records = spark.sql(f"select {values}, 'source' as source, 0 as source_partition, 0L as source_offset")
    contract = load_registry([PACKAGED]).contracts["access"]
    assert parse_events(records, contract, settings).select("reasons").collect()[0].reasons

    def kept(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.RecordBatch.from_pydict({"kept": [gc.get_freeze_count()] * batch.num_rows})

    # Spark has idle workers go on, that of the check among them.
    assert max(row.kept for row in spark.range(2).mapInArrow(kept, "kept long").collect()) > 10_000
