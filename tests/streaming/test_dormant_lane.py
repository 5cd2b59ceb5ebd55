"""A lane that no metric needs any more: its checkpoint must not claim what was cleaned away while it did not read."""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import redis

from conf.settings import Settings
from intake.source import open_source
from streaming.contract_stream import ContractStream
from tests.packs import SHIPPED
from tests.streaming.stage import TOTALS, Stage, access, metric_of
from tidemark import keys
from tidemark.metrics.model import Metric
from tidemark.metrics.registry import Registry

USERS = metric_of("users", "SELECT APPROX_COUNT_DISTINCT(user_id) AS users FROM access")
LOG_HEAD = '{"batchWatermarkMs":0,"batchTimestampMs":1}'


def stream_of(settings: Settings, client: redis.Redis, metrics: Iterable[Metric] = (TOTALS,)) -> ContractStream:
    registry = Registry(SHIPPED.contracts, {metric.name: metric for metric in metrics})
    return ContractStream(_no_session, settings, client, registry, "access")


def checkpoint(settings: Settings, lane: str) -> Path:
    return Path(keys.checkpoint(settings.checkpoints_uri, "access", lane))


def commit(settings: Settings, lane: str, segments: Iterable[str]) -> None:
    """A checkpoint whose one batch took these segments, as Spark writes it."""
    entries = (json.dumps({"path": f"file:///{name}", "timestamp": 1, "batchId": 0}) for name in segments)
    files = {"offsets/0": [LOG_HEAD, '{"logOffset":0}'], "commits/0": ["{}"], "sources/0/0": [*entries]}
    for name, lines in files.items():
        path = checkpoint(settings, lane) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["v1", *lines]))


@pytest.fixture
def eager(settings: Settings) -> Settings:
    """Consumed segments may go at once."""
    return settings.model_copy(update={"segment_retention_s": 0})


@pytest.fixture
def client(settings: Settings) -> Any:
    with redis.Redis.from_url(str(settings.redis_url)) as client:
        client.set(keys.progress("access", "sketch"), "{}")
        yield client


def test_a_checkpoint_that_lacks_what_goes_is_removed_and_its_progress_record_with_it(
    eager: Settings, client: redis.Redis
) -> None:
    source = open_source(eager, SHIPPED.contracts["access"].newest)
    source.append([b"{}"])
    commit(eager, "sketch", source.end_position()["segments"])
    source.append([b"{}"])
    for lane in ("lake", "exact"):
        commit(eager, lane, source.end_position()["segments"])
    stream_of(eager, client).clean_source()
    assert source.removed_ever() == 2
    assert not checkpoint(eager, "sketch").exists()
    assert not client.exists(keys.progress("access", "sketch"))


def test_a_checkpoint_that_has_read_all_that_goes_stays(eager: Settings, client: redis.Redis) -> None:
    source = open_source(eager, SHIPPED.contracts["access"].newest)
    source.append([b"{}"])
    for lane in ("lake", "exact", "sketch"):
        commit(eager, lane, source.end_position()["segments"])
    source.append([b"{}"])
    stream_of(eager, client).clean_source()
    assert source.removed_ever() == 1
    assert checkpoint(eager, "sketch").exists()
    assert client.exists(keys.progress("access", "sketch"))


def test_a_checkpoint_may_still_catch_up_until_what_it_lacks_is_old(settings: Settings, client: redis.Redis) -> None:
    source = open_source(settings, SHIPPED.contracts["access"].newest)
    commit(settings, "sketch", [])
    source.append([b"{}"])
    for lane in ("lake", "exact"):
        commit(settings, lane, source.end_position()["segments"])
    stream_of(settings, client).clean_source()
    assert source.removed_ever() == 0
    assert checkpoint(settings, "sketch").exists()


def test_nothing_goes_while_redis_could_not_be_told(eager: Settings) -> None:
    source = open_source(eager, SHIPPED.contracts["access"].newest)
    commit(eager, "sketch", [])
    source.append([b"{}"])
    for lane in ("lake", "exact"):
        commit(eager, lane, source.end_position()["segments"])
    away = redis.Redis(port=9, socket_connect_timeout=0.1)
    stream_of(eager, away).clean_source()
    assert source.removed_ever() == 0
    assert checkpoint(eager, "sketch").exists()


@pytest.mark.spark
def test_a_sketch_metric_that_comes_back_is_covered_from_behind_the_hole(stage: Stage) -> None:
    eager = stage.settings.model_copy(update={"segment_retention_s": 0})
    stage.append(access("a", "00:05:00"))
    stage.once([USERS], "sketch")
    stage.append(access("unseen", "00:06:00"), access("unseen too", "02:00:00"))
    stage.once()
    stage.write_lake()
    stream_of(eager, stage.client).clean_source()
    assert stage.source.removed_ever() == 3
    hole_ends = time.time()
    stage.append(access("b", "02:05:00"))
    stage.once([USERS], "sketch")
    covered = stage.progress("sketch").families[USERS.family]
    assert covered is not None
    assert covered >= hole_ends


def _no_session() -> Any:
    raise AssertionError("no Spark is needed")
