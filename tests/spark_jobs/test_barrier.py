"""The barrier waits by positions, and says who is behind."""

import json
from pathlib import Path

import pytest
import redis

from conf.settings import Settings
from intake.source import open_source
from spark_jobs import barrier
from tests.packs import SHIPPED
from tidemark import keys
from tidemark.errors import SourceLost, SourceNotDrained

END = {"tidemark.access": {"0": 10, "1": 5}}


def test_a_drained_source_lets_the_batch_pass_at_once() -> None:
    barrier.wait_until_drained({"access": END}, lambda _: END, lambda _: False, 0)


def test_an_empty_source_needs_no_stream() -> None:
    barrier.wait_until_drained({"access": {"segments": []}}, lambda _: None, lambda _: False, 0)


def test_a_source_that_nothing_drains_is_refused_with_its_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barrier, "PATIENCE_S", 0.3)
    with pytest.raises(SourceNotDrained, match=r"nothing drains.*access 15 records behind"):
        barrier.wait_until_drained({"access": END}, lambda _: None, lambda _: False, 60)


def test_a_living_writer_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barrier, "PATIENCE_S", 0.1)
    with pytest.raises(SourceNotDrained, match=r"still behind the source after 0\.5 s: access 15"):
        barrier.wait_until_drained({"access": END}, lambda _: None, lambda _: True, 0.5)


def test_progress_keeps_the_batch_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barrier, "PATIENCE_S", 0.6)
    polls = iter(range(100))

    def consumed(_: str) -> dict[str, dict[str, int]]:
        return {"tidemark.access": {"0": min(10, next(polls)), "1": 5}}

    barrier.wait_until_drained({"access": END}, consumed, lambda _: False, 60)


def test_a_topic_that_was_made_anew_does_not_pass_for_drained(settings: Settings, brokers: str) -> None:
    changed = settings.model_copy(
        update={"source": "kafka", "kafka_bootstrap": brokers, "kafka_topic_prefix": "made-anew."}
    )
    access = SHIPPED.contracts["access"]
    source = open_source(changed, access.newest)
    source.append([b"{}"] * 5)
    read = {topic: dict.fromkeys(ends, 100) for topic, ends in source.end_position().items()}
    checkpoint = Path(keys.checkpoint(changed.checkpoints_uri, "access", keys.LAKE_LANE))
    for file, lines in {"offsets/0": ["v1", "{}", json.dumps(read)], "commits/0": ["v1", "{}"]}.items():
        (checkpoint / file).parent.mkdir(parents=True)
        (checkpoint / file).write_text("\n".join(lines))
    with (
        redis.Redis.from_url(str(settings.redis_url)) as client,
        pytest.raises(SourceLost, match=r"^access/lake: .* ends before offset 100, .*kafka-retention-passed"),
    ):
        barrier.run(changed, [access], client)
