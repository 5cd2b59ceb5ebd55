"""As of when the views hold all that was received: also in the middle of a backlog whose partitions differ."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from confluent_kafka import Producer

from intake.kafka_log import KafkaSource
from intake.position import Position
from intake.source import Backlog, Source
from streaming.batch_facts import BatchFacts
from streaming.checkpoint_note import CheckpointNote
from streaming.speed_progress import SpeedProgress
from tests.packs import SHIPPED
from tidemark.coverage import Reason, SpeedState, find_missing
from tidemark.errors import SourceUnavailable
from tidemark.windows import Span, floor_to

METRIC = SHIPPED.metrics["device_access"]
NOTE = CheckpointNote("id", "kafka", epoch=1, families={METRIC.family: None})
NOW_S = 1_800_000_000.0
LIMIT = 40
BACKLOG = {"0": 30, "1": 100}
"""Records of partition 0 came within the last half minute, those of partition 1 an hour ago."""
FIRST = {"topic": {"0": 9, "1": 30}}
"""Where Spark ends a batch of at most 40 of these 130 records."""
FACTS = BatchFacts(0, 0, None, planned_at=NOW_S, valid=39, received_through=NOW_S - 1)


class Skewed:
    """Such a topic; `oldest_s`: when the unread records of a partition came."""

    def __init__(self, oldest_s: Mapping[str, float]) -> None:
        self._oldest_s = oldest_s

    def backlog(self, consumed: Position | None) -> Backlog:
        taken = (consumed or {}).get("topic", {})
        left = {partition: end - taken.get(partition, 0) for partition, end in BACKLOG.items()}
        oldest = [datetime.fromtimestamp(self._oldest_s[name], UTC) for name, count in left.items() if count]
        return Backlog(sum(left.values()), min(oldest, default=None))


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.sources.kafka._MAX_BATCH_RECORDS", LIMIT)


def progress_on(source: Any) -> SpeedProgress:
    progress = SpeedProgress("key", 60, cast(Source, source), lambda: NOW_S)
    progress.resume(None, None, NOTE, {}, {})
    return progress


def missing(progress: SpeedProgress, source: Any) -> list[Reason]:
    """Why an answer about the last hour is not complete, while the stream lives."""
    end = floor_to(NOW_S, 600)
    speed = SpeedState(progress.record, True, source.backlog(progress.record.position).records)
    return [each.reason for each in find_missing(METRIC, None, speed, Span(end - 3600, end), 600, NOW_S, 30)]


def test_a_partition_that_is_behind_keeps_the_whole_from_looking_fresh() -> None:
    source = Skewed({"0": NOW_S - 20, "1": NOW_S - 3600})
    progress = progress_on(source)
    progress.advance(FACTS, NOTE, FIRST, {})
    assert progress.record.as_of == NOW_S - 3600
    assert missing(progress, source) == [Reason.SPEED_STALE]


def test_the_last_batch_of_a_backlog_is_fresh_again() -> None:
    source = Skewed({"0": NOW_S - 20, "1": NOW_S - 3600})
    progress = progress_on(source)
    progress.advance(FACTS, NOTE, FIRST, {})
    progress.advance(replace(FACTS, batch=1), NOTE, {"topic": BACKLOG}, {})
    assert progress.record.as_of == NOW_S - 1
    assert missing(progress, source) == []


def test_a_batch_that_had_room_left_asks_nobody() -> None:
    progress = progress_on(None)
    progress.record = replace(progress.record, position={"topic": {"0": 30, "1": 70}})
    progress.advance(FACTS, NOTE, {"topic": BACKLOG}, {})
    assert progress.record.as_of == NOW_S - 1


def test_a_broker_that_cannot_say_leaves_the_batch_alone_and_nothing_is_claimed() -> None:
    class Away:
        def backlog(self, _: Position | None) -> Backlog:
            raise SourceUnavailable("source: kafka: away")

    progress = progress_on(Away())
    progress.advance(FACTS, NOTE, FIRST, {})
    assert progress.record.as_of == 0


def test_segments_come_in_the_order_of_reception_so_nobody_is_asked() -> None:
    progress = progress_on(None)
    progress.advance(FACTS, NOTE, {"segments": ["00000000000000000001-abcd-50000.parquet"]}, {})
    assert progress.record.as_of == NOW_S - 1


@pytest.mark.parametrize("ahead_s", [0, 7200])
def test_a_skewed_topic_is_behind_also_by_a_producer_whose_clock_is_ahead(brokers: str, ahead_s: int) -> None:
    """Of records that claim to come from the future nobody knows how long they have waited."""
    topic, now_s = f"skewed-{ahead_s}", time.time()
    producer = Producer({"bootstrap.servers": brokers, "log_level": 0})
    for partition, received_s in {0: now_s - 20, 1: now_s - 3600 + ahead_s}.items():
        for _ in range(BACKLOG[str(partition)]):
            producer.produce(topic, b"{}", partition=partition, timestamp=int(received_s * 1000))
    producer.flush()
    source = KafkaSource(brokers, topic, "device_id")
    progress = progress_on(source)
    facts = replace(FACTS, planned_at=now_s, received_through=now_s + ahead_s)
    progress.advance(facts, NOTE, {topic: FIRST["topic"]}, {})
    assert progress.record.as_of <= now_s - 3599
    assert progress.record.as_of == (0 if ahead_s else pytest.approx(now_s - 3600, abs=0.01))
