"""Bronze: every record once, whatever is replayed; a new checkpoint never drops data silently."""

import shutil

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from spark_jobs import build_silver
from tests.streaming.stage import Stage, access
from tidemark import keys
from tidemark.keys import LakeTables

pytestmark = pytest.mark.spark


def events(stage: Stage) -> pa.Table:
    return DeltaTable(LakeTables(stage.settings.lake_uri).bronze_events("access")).to_pyarrow_table()


def quarantine(stage: Stage) -> pa.Table:
    return DeltaTable(LakeTables(stage.settings.lake_uri).bronze_quarantine("access")).to_pyarrow_table()


def test_valid_records_and_their_repetitions_are_in_bronze_broken_ones_in_quarantine(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"), b"\xff\xfe", access("a", "00:00:00"), b'{"event_id": 1}')
    lake = stage.write_lake()
    assert events(stage)["event_id"].to_pylist() == ["a", "a"]
    assert sorted(events(stage)["source_offset"].to_pylist()) == [0, 2]
    broken = quarantine(stage).sort_by("source_offset").to_pylist()
    assert [row["source_offset"] for row in broken] == [1, 3]
    assert broken[0]["raw_bytes"] == b"\xff\xfe"
    assert broken[0]["reasons"] == ["record:not_utf8"]
    assert broken[1]["raw"] == '{"event_id": 1}'
    assert {row["stage"] for row in broken} == {"contract"}
    assert lake.note.records == {"received": 4, "valid": 2, "quarantined": 2}


def test_a_broken_record_after_a_conflict_finds_the_quarantine_that_the_batch_made(stage: Stage) -> None:
    """The batch made it without partitions, which the stream then could not append to: not then, nor ever after."""
    stage.append(access("a", "00:00:00"), access("a", "00:00:00", count=2))
    stage.write_lake()
    found = build_silver.run(lambda: stage.spark, stage.settings, stage.contract)
    assert (found.added, found.conflicts) == (1, 1)
    stage.append(b"{")
    stage.write_lake()
    assert sorted(quarantine(stage)["stage"].to_pylist()) == ["conflict", "contract"]


def test_a_quarantine_without_partitions_is_appended_to_as_it_is(stage: Stage) -> None:
    stage.append(b"{")
    stage.write_lake()
    held, uri = quarantine(stage), LakeTables(stage.settings.lake_uri).bronze_quarantine("access")
    shutil.rmtree(uri)
    write_deltalake(uri, held)
    stage.append(b"[")
    stage.write_lake()
    assert sorted(quarantine(stage)["raw"].to_pylist()) == ["[", "{"]


def test_a_replayed_batch_is_appended_and_counted_once(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"))
    stage.write_lake()
    stage.append(access("b", "00:00:00"), b"{")
    stage.write_lake()
    stage.uncommit("lake")
    lake = stage.write_lake()
    assert sorted(events(stage)["event_id"].to_pylist()) == ["a", "b"]
    assert quarantine(stage).num_rows == 1
    assert lake.note.records == {"received": 3, "valid": 2, "quarantined": 1}


def test_a_new_checkpoint_neither_drops_nor_doubles(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"))
    stage.write_lake()
    shutil.rmtree(keys.checkpoint(stage.settings.checkpoints_uri, "access", "lake"))
    stage.append(access("b", "00:00:00"))
    stage.write_lake()
    assert sorted(events(stage)["event_id"].to_pylist()) == ["a", "b"]


def test_late_and_pseudonymised_events_are_in_bronze_too(stage: Stage) -> None:
    stage.append(access("a", "10:00:00"))
    stage.write_lake()
    stage.append(access("late", "00:00:00"))
    stage.write_lake()
    rows = events(stage)
    assert rows.num_rows == 2
    assert all(len(masked) == 64 for masked in rows["user_id"].to_pylist())


def test_files_of_bronze_say_when_their_records_were_received_and_nothing_else(stage: Stage) -> None:
    """A backup reads that; statistics of every column made each write dearer."""
    stage.append(access("a", "00:00:00"), b"{")
    stage.write_lake()
    tables = LakeTables(stage.settings.lake_uri)
    for uri in (tables.bronze_events("access"), tables.bronze_quarantine("access")):
        actions = pa.table(DeltaTable(uri).get_add_actions(flatten=True))
        assert [name for name in actions.column_names if name.startswith("max.")] == ["max.received_at"]
