"""A new checkpoint on the same tables: the views count from sealed_through, counts before it stay, nothing is believed
that an older checkpoint left."""

import shutil
import time
from pathlib import Path

import pytest

from cli.main import main
from runtime.stream_lock import locked_contract
from streaming.begin_anew import sealed_since
from streaming.fenced_writer import FencedWriter
from tests.packs import SHIPPED
from tests.streaming.stage import TOTALS, Stage, access, at
from tidemark import keys
from tidemark.errors import CheckpointDamaged
from tidemark.keys import LakeTables
from tidemark.metrics.model import Metric
from tidemark.publication import Publication

pytestmark = pytest.mark.spark


def publish(stage: Stage, metric: Metric, through: int, version: int = 1) -> None:
    """As a batch does it, in the lake: that is what a new checkpoint goes by."""
    from spark_jobs.ledgers import commit_publications

    record = Publication(
        metric.name, metric.family, version, through, None, None, "passed", time.time(), through, (), metric.source_text
    )
    commit_publications(LakeTables(stage.settings.lake_uri), [record])


def checkpoint(stage: Stage, lane: str = "exact") -> str:
    return keys.checkpoint(stage.settings.checkpoints_uri, "access", lane)


def test_views_count_from_what_every_metric_has_sealed(stage: Stage) -> None:
    tables = LakeTables(stage.settings.lake_uri)
    other = SHIPPED.metrics["device_access"]
    assert sealed_since(tables, [TOTALS]) is None
    publish(stage, TOTALS, at("00:30:00"))
    assert sealed_since(tables, [TOTALS, other]) is None
    publish(stage, other, at("01:00:00"))
    publish(stage, TOTALS, at("02:00:00"), version=2)
    assert sealed_since(tables, [TOTALS, other]) == at("01:00:00")
    assert sealed_since(tables, []) is None


def test_what_is_sealed_is_not_counted_again(stage: Stage) -> None:
    stage.append(access("a", "00:05:00"), access("b", "00:35:00"))
    stage.once()
    before, accepted = stage.windows(), stage.accepted()
    publish(stage, TOTALS, at("00:30:00"))
    shutil.rmtree(checkpoint(stage))
    stage.append(access("late", "00:06:00"), access("c", "00:36:00"))
    stage.once()
    assert stage.progress().families == {TOTALS.family: at("00:30:00")}
    assert stage.accepted() == {**accepted, at("00:36:00"): 1}
    assert {key[1] for key in stage.windows()} == {at("00:30:00")}
    assert before.keys() - stage.windows().keys() == {(w, at("00:00:00"), "5:dev-1") for w in (600, 1800)}
    assert stage.late() == []


def test_views_of_an_older_checkpoint_are_not_believed_after_a_kill_within_the_takeover(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim names the new checkpoint in the fence; a restart then has to see that the rest was not done."""
    stage.append(access("gone", "00:05:00", "dev-9"))
    stage.once()
    shutil.rmtree(checkpoint(stage))
    shutil.rmtree(stage.settings.home / "source")
    stage.append(access("a", "00:05:00", "dev-1"))
    with monkeypatch.context() as killed:
        killed.setattr("streaming.speed_lane.removals", _killed)
        with pytest.raises(KeyboardInterrupt):
            stage.lane().prepare()
    stage.once()
    assert {key[2] for key in stage.windows()} == {"5:dev-1"}


def test_a_reset_leaves_no_views_that_vouch_and_a_fence_that_refuses(stage: Stage) -> None:
    metric = SHIPPED.metrics["device_access"]
    stage.append(access("a", "00:05:00"))
    old = stage.once([metric])
    stage.write_lake()
    assert stage.windows(metric)
    assert main(["reset-speed", "--source-contract", "access"]) == 0
    assert stage.windows(metric) == {}
    assert not stage.client.exists(keys.progress("access", "exact"))
    fence = FencedWriter(stage.client, "access", "exact", "").fence()
    assert fence is not None
    assert fence.epoch > old._writer.epoch
    stage.once([metric])
    stage.write_lake()
    assert sum(stage.accepted().values()) == 1


def test_a_note_that_is_gone_stops_the_views_and_a_reset_brings_them_back(stage: Stage) -> None:
    stage.append(access("a", "00:05:00"))
    stage.once()
    (Path(checkpoint(stage)) / "tidemark.json").unlink()
    with pytest.raises(CheckpointDamaged, match=r"tidemark\.json is missing"):
        stage.lane().prepare()
    assert main(["reset-speed", "--source-contract", "access"]) == 0
    stage.once()
    assert stage.progress().families == {TOTALS.family: None}
    assert sum(stage.accepted().values()) == 1


def test_a_reset_is_refused_while_a_stream_runs(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.append(access("a", "00:05:00"))
    stage.once()
    before = stage.dump()
    with locked_contract(stage.settings, "access"):
        assert main(["reset-speed"]) == 1
    assert "another stream runs" in capsys.readouterr().err
    stage.client.set(keys.alive("access", "exact"), "1")
    assert main(["reset-speed", "--source-contract", "access"]) == 1
    assert "another machine" in capsys.readouterr().err
    stage.client.delete(keys.alive("access", "exact"))
    assert stage.dump() == before


def test_an_unknown_lane_or_contract_is_wrong_use(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reset-speed", "--lane", "silver"]) == 2
    assert main(["reset-speed", "--source-contract", "nope"]) == 2
    assert "silver" in (told := capsys.readouterr().err)
    assert "nope" in told


def test_the_document_says_what_was_done(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    stage.append(access("a", "00:05:00"), b"broken")
    stage.once()
    stage.write_lake()
    capsys.readouterr()
    assert main(["reset-speed", "--lane", "lake", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "reset": [
            {
                "contract": "access",
                "lane": "lake",
                "checkpoint": "new",
                "before": "removed",
                "covered_from": None,
                "records_kept": 2,
            }
        ]
    }


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
