"""The speed views and the lake from a real broker."""

import time
from typing import Any

import pytest
from confluent_kafka import Producer

from conf.settings import Settings
from streaming.speed_progress import SpeedProgress
from tests.streaming.stage import TOTALS, Stage, access, at
from tidemark.coverage import Reason, SpeedState, find_missing
from tidemark.progress import Progress
from tidemark.windows import Span, floor_to

pytestmark = [pytest.mark.spark, pytest.mark.kafka]


def test_a_topic_is_drained_into_views_and_lake_and_gone_on_with(
    settings: Settings, spark: object, kafka_bootstrap: str
) -> None:
    changed = settings.model_copy(
        update={"source": "kafka", "kafka_bootstrap": kafka_bootstrap, "kafka_topic_prefix": "speed."}
    )
    stage = Stage(spark, changed)  # type: ignore[arg-type]
    stage.append(access("a", "00:00:00"), b"{")
    stage.once()
    stage.append(access("b", "00:01:00"), access("a", "00:00:00"))
    stage.once()
    lake = stage.write_lake()
    assert stage.windows()[(600, at("00:00:00"), "5:dev-1")] == (2, 2)
    assert stage.progress().position == stage.source.end_position()
    assert lake.note.records == {"received": 4, "valid": 3, "quarantined": 1}
    assert not stage.lane().has_work()
    stage.client.close()


def test_a_backlog_of_which_one_partition_is_fresh_is_not_called_fresh(
    settings: Settings, spark: object, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Partition 1 holds an hour's backlog, partition 0 the last seconds: the first batch takes of both."""
    changed = settings.model_copy(
        update={"source": "kafka", "kafka_bootstrap": kafka_bootstrap, "kafka_topic_prefix": "skewed."}
    )
    monkeypatch.setattr("streaming.sources.kafka._MAX_BATCH_RECORDS", 40)
    seen: list[Progress] = []
    advance = SpeedProgress.advance

    def watched(self: SpeedProgress, *given: Any) -> None:
        advance(self, *given)
        seen.append(self.record)

    monkeypatch.setattr(SpeedProgress, "advance", watched)
    stage = Stage(spark, changed)  # type: ignore[arg-type]
    stage.source.prepare()
    now_s = time.time()
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "log_level": 0})
    for partition, count, received_s in ((1, 100, now_s - 3600), (0, 30, now_s - 2)):
        for number in range(count):
            value = access(f"{partition}-{number}", "00:00:00")
            producer.produce("skewed.access", value, partition=partition, timestamp=int(received_s * 1000))
    producer.flush()
    stage.once()
    behind = [record for record in seen if stage.source.backlog(record.position).records]
    assert len(behind) >= 2
    assert {round(record.as_of) for record in behind} == {round(now_s - 3600)}
    end = floor_to(now_s, 600)
    for record in behind:
        state = SpeedState(record, True, 1)
        gaps = find_missing(TOTALS, None, state, Span(end - 3600, end), 600, time.time(), settings.stale_after_s)
        assert [gap.reason for gap in gaps] == [Reason.SPEED_STALE]
    assert stage.progress().as_of == pytest.approx(now_s - 2, abs=0.01)
    assert stage.windows()[(600, at("00:00:00"), "5:dev-1")] == (130, 130)
    stage.client.close()
