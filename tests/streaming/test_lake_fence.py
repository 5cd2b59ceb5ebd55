"""Of two lake writers on one lake only the checkpoint that began last writes, and no record comes in twice."""

import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from streaming.lake_fence import LakeFence
from streaming.lake_writer import LakeWriter
from tests.streaming.stage import Stage, access, drain
from tidemark import keys
from tidemark.errors import StaleWriter
from tidemark.keys import LakeTables


def test_each_claim_is_newer_and_refuses_those_before(tmp_path: Path) -> None:
    tables = LakeTables(str(tmp_path))
    first = LakeFence(tables, "access")
    assert first.claim() == 1
    first.refuse_older(1)
    for name in (tables.bronze_events("access"), tables.bronze_quarantine("access")):
        write_deltalake(name, pa.table({"x": [1], "ingest_date": ["2026-01-01"]}), partition_by=["ingest_date"])
    assert [first.claim(), LakeFence(tables, "access").claim()] == [1, 2]
    with pytest.raises(StaleWriter, match="access/lake: a newer stream"):
        first.refuse_older(1)
    first.refuse_older(2)
    assert DeltaTable(tables.bronze_events("access")).to_pyarrow_table().num_rows == 1


def test_a_batch_is_newer_than_its_epoch_and_older_than_the_next() -> None:
    fence = LakeFence(LakeTables("/nowhere"), "access")
    assert fence.transaction(1, 0) < fence.transaction(1, 1) < fence.transaction(2, 0)


@pytest.mark.spark
def test_a_new_checkpoint_leaves_out_what_bronze_holds(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"), b"broken")
    stage.write_lake()
    shutil.rmtree(_checkpoint(stage))
    stage.append(access("b", "00:01:00"), b"also broken")
    lake = stage.write_lake()
    assert ids(stage) == {"a": 1, "b": 1}
    assert quarantined(stage) == 2
    assert lake.note.records == {"received": 4, "valid": 2, "quarantined": 2}


@pytest.mark.spark
def test_what_only_half_a_batch_had_brought_comes_in_once(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"), b"broken")
    stage.write_lake()
    shutil.rmtree(stage.settings.lake_uri + "/bronze/quarantine")
    shutil.rmtree(_checkpoint(stage))
    stage.write_lake()
    assert ids(stage) == {"a": 1}
    assert quarantined(stage) == 1


@pytest.mark.spark
def test_a_writer_that_was_taken_over_is_refused(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"))
    old = stage.write_lake()
    shutil.move(_checkpoint(stage), f"{_checkpoint(stage)}-aside")
    new = stage.write_lake()
    assert new.note.epoch == old.note.epoch + 1
    stage.append(access("b", "00:01:00"))
    shutil.move(_checkpoint(stage), f"{_checkpoint(stage)}-new")
    shutil.move(f"{_checkpoint(stage)}-aside", _checkpoint(stage))
    zombie = LakeWriter(lambda: stage.spark, stage.settings, stage.contract, stage.source)
    zombie.start(once=True)
    with pytest.raises(StaleWriter):
        drain(zombie)
    assert ids(stage) == {"a": 1}


@pytest.mark.spark
def test_an_append_that_hung_since_before_the_takeover_does_not_land(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.append(access("a", "00:00:00"))
    stage.write_lake()
    fence = LakeFence(LakeTables(stage.settings.lake_uri), "access")
    monkeypatch.setattr(LakeFence, "refuse_older", lambda self, epoch: fence.claim())  # taken over right after the look
    stage.append(access("b", "00:01:00"))
    stage.write_lake()
    assert ids(stage) == {"a": 1}


def ids(stage: Stage) -> dict[str, int]:
    rows = DeltaTable(LakeTables(stage.settings.lake_uri).bronze_events("access")).to_pyarrow_table(
        columns=["event_id"]
    )
    return dict(Counter(rows.column("event_id").to_pylist()))


def quarantined(stage: Stage) -> int:
    table = DeltaTable(LakeTables(stage.settings.lake_uri).bronze_quarantine("access"))
    return int(table.to_pyarrow_dataset().count_rows())


def _checkpoint(stage: Stage) -> str:
    return keys.checkpoint(stage.settings.checkpoints_uri, "access", keys.LAKE_LANE)
