"""Cleaning consumed segments: only what every query has, exactly counted, also across a kill."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from intake import segment_cleanup
from intake.segments import FileSource

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now_ns = int(START.timestamp()) * 10**9

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> FileSource:
    log = FileSource(tmp_path / "access", clock)
    for count in (1, 2, 3):
        log.append([b"{}"] * count)
        clock.now_ns += 3600 * 10**9
    return log


def test_only_old_and_consumed_segments_go(log: FileSource) -> None:
    first, second, third = log.segment_names()
    cleaned = log.clean({first, third}, older_than_s=5400, now=START + timedelta(hours=3))
    assert (cleaned.segments, cleaned.records) == (1, 1)
    assert log.segment_names() == [second, third]


def test_the_marker_says_that_the_source_lost_its_beginning(log: FileSource) -> None:
    assert segment_cleanup.removed_records(log.folder) == 0
    log.clean(set(log.segment_names()), 0, START + timedelta(days=1))
    assert segment_cleanup.removed_records(log.folder) == 6
    assert log.has_data()
    assert log.appended_ever() == 6
    assert log.end_position() == {"segments": []}


def test_a_second_cleaning_adds_to_the_count(log: FileSource) -> None:
    names = log.segment_names()
    for end in (1, 2, 3):
        log.clean(set(names[:end]), 0, START + timedelta(days=1))
    assert json.loads((log.folder / "_truncated.json").read_text())["records"] == 6


def test_a_kill_in_the_middle_is_finished_without_counting_twice(
    log: FileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = log.segment_names()
    with monkeypatch.context() as patched:
        patched.setattr(segment_cleanup, "_finish_removal", lambda folder: None)
        log.clean(set(names[:2]), 0, START + timedelta(days=1))
    assert log.appended_ever() == 6
    (log.folder / names[0]).unlink()
    assert log.appended_ever() == 6
    log.clean(set(), 0, START + timedelta(days=1))
    assert log.segment_names() == names[2:]
    assert log.appended_ever() == 6
    assert segment_cleanup.removed_records(log.folder) == 3


def test_hidden_files_of_dead_appenders_are_removed_after_an_hour(log: FileSource) -> None:
    old, fresh = log.folder / ".old.parquet", log.folder / ".fresh.parquet"
    for file in (old, fresh):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    log.clean(set(), 0, datetime.now(UTC))
    assert not old.exists()
    assert fresh.exists()
