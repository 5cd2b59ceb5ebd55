"""The state store: compiled once, and what its seldom looks for expired rows change: their number, no result."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime import state_store
from runtime.state_store import PROVIDER, compile_state_store, state_store_conf, state_store_jar
from tests.stream_session import conf_of
from tidemark.errors import Fault

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

_PROVIDER = "spark.sql.streaming.stateStore.providerClass"
_ALWAYS = {"spark.sql.shuffle.partitions": "1", "spark.sql.streaming.noDataMicroBatches.enabled": "false"}


def test_it_is_compiled_and_a_stream_uses_it() -> None:
    assert state_store_jar().is_file()
    assert state_store_conf() == {_PROVIDER: PROVIDER}


def test_its_name_changes_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_store_jar()
    (tmp_path / "Other.java").write_text("class Other {}")
    monkeypatch.setattr(state_store, "_SOURCES", tmp_path)
    assert state_store_jar() != before
    assert state_store_conf() == {}


def test_what_does_not_compile_is_one_line_and_no_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Other.java").write_text("class Other extends org.apache.spark.NoSuchClass {}")
    monkeypatch.setattr(state_store, "_SOURCES", tmp_path)
    with pytest.raises(Fault, match=r"org\.apache\.spark\.NoSuchClass cannot be resolved"):
        compile_state_store()
    assert state_store.main() == 0
    assert capsys.readouterr().err.count("\n") == 1
    assert not state_store_jar().exists()


MANY = [(f"old-{number}", 0) for number in range(1_000)]
"""Ids that have expired once an event of second 11 was seen in an earlier batch."""


class Deduplication:
    """One query over (id, second) rows, which holds ids for 10 s; each of `batches` is one of its micro-batches."""

    def __init__(self, spark: "SparkSession", folder: Path, provider: str | None) -> None:
        self._spark = spark
        self._folder = folder
        self._conf = {**_ALWAYS, **({_PROVIDER: provider} if provider else {})}
        self._files = 0
        self.passed: list[str] = []
        (folder / "in").mkdir(parents=True)

    def run(self, *batches: list[tuple[str, int]]) -> list[int]:
        """Ids removed in each micro-batch."""
        for rows in batches:
            self._files += 1
            lines = "\n".join(json.dumps({"id": name, "second": second}) for name, second in rows)
            file = self._folder / "in" / f"{self._files:03}.json"
            file.write_text(lines)
            os.utime(file, (self._files, self._files))
        with conf_of(self._spark, self._conf):
            query = self._query()
            query.awaitTermination()
        with_rows = [progress for progress in query.recentProgress if progress.numInputRows]
        return [progress.stateOperators[0].numRowsRemoved for progress in with_rows]

    def held(self) -> set[str]:
        """The ids in the checkpoint, read with the same state store."""
        with conf_of(self._spark, self._conf):
            rows = self._spark.read.format("statestore").load(str(self._folder / "checkpoint"))
            return {row[0] for row in rows.selectExpr("key.id").collect()}

    def _query(self) -> "StreamingQuery":
        source = self._spark.readStream.schema("id string, second long").option("maxFilesPerTrigger", 1)
        timed = source.json(str(self._folder / "in")).selectExpr("id", "timestamp_seconds(1000 + second) as at")
        once = timed.withWatermark("at", "10 seconds").dropDuplicatesWithinWatermark(["id"])
        writer = once.writeStream.option("checkpointLocation", str(self._folder / "checkpoint"))
        return writer.foreachBatch(self._keep).trigger(availableNow=True).start()

    def _keep(self, rows: "DataFrame", _number: int) -> None:
        self.passed += [row[0] for row in rows.select("id").collect()]


@pytest.mark.spark
@pytest.mark.parametrize(("provider", "removed"), [(None, [0, 0, 1_000, 2]), (PROVIDER, [0, 0, 0, 1_002])])
def test_it_looks_for_expired_rows_when_a_quarter_was_written(
    spark: "SparkSession", tmp_path: Path, provider: str | None, removed: list[int]
) -> None:
    query = Deduplication(spark, tmp_path, provider)
    new = [(f"new-{number}", 200) for number in range(300)]
    assert query.run(MANY, [("a", 100)], [("b", 101), ("a", 102), ("c", 200)], new) == removed
    assert sorted(query.passed) == sorted(name for name, _ in [*MANY, ("a", 100), ("b", 101), ("c", 200), *new])
    assert query.held() == {"c", *(name for name, _ in new)}


@pytest.mark.spark
def test_a_few_rows_are_looked_at_each_time(spark: "SparkSession", tmp_path: Path) -> None:
    query = Deduplication(spark, tmp_path, PROVIDER)
    assert query.run([("a", 0)], [("b", 100)], [("c", 200)], [("d", 300)]) == [0, 0, 1, 1]


@pytest.mark.spark
def test_ids_that_stayed_are_still_known_and_gone_after_the_next_start(spark: "SparkSession", tmp_path: Path) -> None:
    query = Deduplication(spark, tmp_path, PROVIDER)
    assert query.run(MANY, [("a", 100)], [("old-1", 101)]) == [0, 0, 0]
    assert len(query.held()) == 1_001
    assert query.run([("old-2", 102), ("b", 103)]) == [1_000]
    assert query.held() == {"a", "b"}
    assert len(query.passed) == 1_002


@pytest.mark.spark
def test_a_checkpoint_goes_over_to_sparks_own_store_and_back(spark: "SparkSession", tmp_path: Path) -> None:
    query = Deduplication(spark, tmp_path, PROVIDER)
    query.run([("a", 100), ("b", 101)])
    query._conf = _ALWAYS
    query.run([("a", 102), ("c", 103)])
    query._conf = {**_ALWAYS, _PROVIDER: PROVIDER}
    query.run([("b", 104), ("c", 104), ("d", 105)])
    assert sorted(query.passed) == ["a", "b", "c", "d"]
