"""A log that was deleted and made anew under the name that a checkpoint reads."""

from pathlib import Path
from typing import Any

import pytest
import redis

from conf.settings import Settings
from intake.segments import FileSource
from streaming.checkpoint_note import CheckpointNote, NoteFile
from streaming.lake_writer import LakeWriter
from streaming.speed_lane import SpeedLane
from tests.packs import SHIPPED
from tidemark.errors import SourceLost

ACCESS = SHIPPED.contracts["access"]
Lane = LakeWriter | SpeedLane


class Named(FileSource):
    """A log with an id."""

    name: str | None = "first"

    def log_id(self) -> str | None:
        return self.name


@pytest.fixture
def source(tmp_path: Path) -> Named:
    return Named(tmp_path / "source")


@pytest.fixture(params=["lake", "exact"])
def lane(request: pytest.FixtureRequest, settings: Settings, source: Named, monkeypatch: pytest.MonkeyPatch) -> Lane:
    """A lane whose start ends where Spark's would begin."""
    monkeypatch.setattr("streaming.query_lane.QueryLane.launch", lambda *_: None)
    if request.param == "lake":
        return LakeWriter(_no_session, settings, ACCESS, source)
    client = redis.Redis.from_url(str(settings.redis_url))
    return SpeedLane(_no_session, settings, ACCESS, "exact", (), source, client)


def note(lane: Lane) -> CheckpointNote:
    found = NoteFile(lane.checkpoint).read()
    assert found is not None
    return found


def test_the_first_start_notes_which_log_it_reads(lane: Lane) -> None:
    lane.start(once=True)
    assert note(lane).log_id == "first"
    lane.start(once=True)


def test_a_note_without_an_id_gets_one_at_the_next_start(lane: Lane, source: Named) -> None:
    source.name = None
    lane.start(once=True)
    assert note(lane).log_id is None
    source.name = "first"
    lane.start(once=True)
    assert note(lane).log_id == "first"


def test_another_log_under_the_same_name_stops_the_start(lane: Lane, source: Named) -> None:
    lane.start(once=True)
    before = note(lane)
    source.name = "second"
    for _ in range(2):
        with pytest.raises(SourceLost, match=f"^{lane.name}: .* made anew .*kafka-retention-passed"):
            lane.start(once=True)
    assert note(lane) == before


def test_a_log_whose_id_is_not_told_any_more_is_not_another_one(lane: Lane, source: Named) -> None:
    lane.start(once=True)
    source.name = None
    lane.start(once=True)
    assert note(lane).log_id == "first"


def _no_session() -> Any:
    raise AssertionError("no Spark is needed")
