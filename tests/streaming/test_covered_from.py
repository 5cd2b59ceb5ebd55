"""From which event time on a family's windows are complete: what a new one cannot see."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from conf.settings import PACKAGED
from intake.position import Position
from intake.segments import FileSource
from intake.source import Backlog
from streaming.covered_from import MAX_AHEAD_S, Unseen, unseen_by_new
from tidemark.metrics.registry import load_registry

ACCESS = load_registry([PACKAGED]).contracts["access"].newest
NOW_S = 1_800_000_000.0


class BusySource(FileSource):
    """A source to which a record is appended whenever it is looked at."""

    def backlog(self, consumed: Position | None) -> Backlog:
        found = super().backlog(consumed)
        self.append([b"{}"])
        return found

    def removed_ever(self) -> int:
        found = super().removed_ever()
        self.append([b"{}"])
        return found


@pytest.mark.parametrize("kind", [FileSource, BusySource])
def test_a_source_that_still_has_its_beginning_hides_nothing(tmp_path: Path, kind: type[FileSource]) -> None:
    source = kind(tmp_path)
    source.append([b"{}", b"{}"])
    assert unseen_by_new(None, source, ACCESS, 600, NOW_S) == Unseen(None)


@pytest.mark.parametrize("kind", [FileSource, BusySource])
def test_what_was_cleaned_away_is_unseen(tmp_path: Path, kind: type[FileSource]) -> None:
    source = kind(tmp_path)
    source.append([b"{}"])
    source.clean(set(source.segment_names()), 0, datetime.now(UTC) + timedelta(days=1))
    source.append([b"{}"])
    oldest = source.backlog(None).oldest_received_at
    assert oldest is not None
    assert unseen_by_new(None, source, ACCESS, 600, NOW_S) == Unseen(oldest.timestamp() + MAX_AHEAD_S)
