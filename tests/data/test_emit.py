"""Sending: at pace by the clock, in bounded batches, and only what was sent is booked."""

import io

import pytest

from data.emit import at_once, at_pace, emit
from data.stream import Kind, Sent
from tidemark.errors import Fault


class Wall:
    """A clock that moves only when it is slept on."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def time(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def record(at_ms: int, kind: Kind = Kind.EVENT) -> Sent:
    return Sent(at_ms, f"{at_ms}".encode(), kind)


def test_nothing_is_sent_before_its_time_nor_much_later() -> None:
    wall = Wall(100.0)
    sent_at = {}
    for batch in at_pace((record(100_000 + 70 * n) for n in range(100)), 100_000, wall.time, wall.sleep):
        for sent in batch:
            sent_at[sent.at_ms] = wall.now_s * 1000
    assert len(sent_at) == 100
    assert all(0 <= now_ms - at_ms <= 501 for at_ms, now_ms in sent_at.items())


def test_who_is_behind_does_not_wait() -> None:
    wall = Wall(500.0)
    batches = list(at_pace((record(100_000 + 70 * n) for n in range(100)), 100_000, wall.time, wall.sleep))
    assert wall.now_s == 500.0
    assert sum(map(len, batches)) == 100


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.emit.BATCH_RECORDS", 3)
    assert [len(batch) for batch in at_once(map(record, range(8)))] == [3, 3, 2]


def test_only_what_was_sent_is_booked() -> None:
    class Broken:
        def send(self, records: list[bytes]) -> None:
            if b"3" in records:
                raise Fault("away")

    ledger = io.BytesIO()
    batches = [[record(1), record(2, Kind.INVALID)], [record(3)]]
    with pytest.raises(Fault):
        list(emit(batches, Broken(), ledger))
    assert ledger.getvalue() == b"1\n"
