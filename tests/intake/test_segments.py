"""The `files` source: durable, atomic, concurrent."""

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from intake import source as source_module
from intake.position import lag
from intake.segments import FileSource
from tidemark.errors import Fault

RECORD = b'{"event_id":"e"}'


@pytest.fixture
def log(tmp_path: Path) -> FileSource:
    return FileSource(tmp_path / "source" / "access")


def test_records_come_back_as_they_were_sent(log: FileSource) -> None:
    sent = [b'{"a":1}', b"", b"\xff\x00 not utf-8", "ünïcode \u2028".encode(), b"x" * 2_000_000]
    assert log.append(sent) == 5
    records = list(log.iter_records())
    assert [record.value for record in records] == sent
    assert [record.source_offset for record in records] == [0, 1, 2, 3, 4]
    assert records[0].received_at.utcoffset() == UTC.utcoffset(None)


def test_an_empty_append_leaves_no_segment(log: FileSource) -> None:
    assert log.append([]) == 0
    assert log.segment_names() == []
    assert not log.has_data()


def test_a_segment_holds_a_bounded_number_of_records(log: FileSource) -> None:
    steps = list(log.append_steps(RECORD for _ in range(120_001)))
    assert [step.records for step in steps] == [50_000, 50_000, 20_001]
    assert len(log.segment_names()) == 3


def test_a_segment_holds_a_bounded_number_of_bytes(log: FileSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "SEGMENT_BYTES", 100)
    assert [step.records for step in log.append_steps([b"x" * 60] * 5)] == [2, 2, 1]


def test_segments_sort_by_arrival_even_when_the_clock_stands_still(tmp_path: Path) -> None:
    log = FileSource(tmp_path, clock_ns=lambda: 1_000_000_000)
    for number in range(20):
        log.append([str(number).encode()])
    assert [int(record.value) for record in log.iter_records()] == list(range(20))
    arrivals = [record.received_at for record in log.iter_records()]
    assert arrivals == sorted(set(arrivals))


def test_backlog_is_what_the_consumer_lacks(log: FileSource) -> None:
    log.append([RECORD] * 3)
    consumed = log.end_position()
    log.append([RECORD] * 2)
    backlog = log.backlog(consumed)
    assert backlog.records == 2
    assert backlog.oldest_received_at == max(record.received_at for record in log.iter_records())
    assert log.backlog(None).records == 5
    assert lag(log.end_position(), consumed) == 2
    assert log.backlog(log.end_position()).oldest_received_at is None


def test_concurrent_appenders_lose_nothing(log: FileSource) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(log.folder, name)) for name in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    values = [record.value for record in log.iter_records()]
    assert len(values) == 4 * 25 * 10 == len(set(values))


def test_a_killed_appender_leaves_no_partial_segment(log: FileSource) -> None:
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=_append_for_ever, args=(log.folder,))
    worker.start()
    deadline = time.monotonic() + 30
    while len(log.segment_names()) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    assert len(list(log.iter_records())) == log.appended_ever() > 0


def test_a_disk_without_room_gives_one_clear_line_and_no_segment(log: FileSource) -> None:
    log.append([RECORD])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(Fault, match=r"^source: cannot keep events: File too large$"):
            log.append([os.urandom(100_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert log.appended_ever() == 1
    assert not list(log.folder.glob(".*.parquet"))


def test_what_was_durable_before_a_failure_stays(log: FileSource) -> None:
    def broken() -> Iterator[bytes]:
        yield from [RECORD] * 50_000
        raise RuntimeError("the sender died")

    with pytest.raises(RuntimeError):
        log.append(broken())
    assert log.appended_ever() == 50_000


def test_a_missing_folder_is_an_empty_source(log: FileSource) -> None:
    assert log.end_position() == {"segments": []}
    assert log.backlog(None).records == 0
    assert log.clean(set(), 0, datetime.now(UTC)).segments == 0
    log.prepare()
    assert log.folder.is_dir()


def _append_many(folder: Path, name: int) -> None:
    log = FileSource(folder)
    for step in range(25):
        log.append(f"{name}-{step}-{row}".encode() for row in range(10))


def _append_for_ever(folder: Path) -> None:
    log = FileSource(folder)
    while True:
        log.append([os.urandom(200) for _ in range(5_000)])
