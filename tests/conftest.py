"""Fixtures that all tests share: a home of their own, a real Redis, one Spark session, one Kafka broker.

Everything started here ends with the run, by its process id. Nothing here imports pyspark before a test asks for it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from confluent_kafka.admin import AdminClient

from conf.settings import Settings, load_settings
from runtime import redis_server
from tests.kafka_broker import KafkaBroker

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own TIDEMARK_… and AWS_REGION say nothing to the tests, which run on conf/test.yaml."""
    for name in [name for name in os.environ if name.startswith("TIDEMARK_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("TIDEMARK_ENV", "test")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty TIDEMARK_HOME of the test, also for commands that it starts. No server runs on it: see `redis_url`."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("TIDEMARK_HOME", str(folder))
    return folder


@pytest.fixture
def settings(home: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of `home` with the Redis of the tests, also for commands that the test starts."""
    monkeypatch.setenv("TIDEMARK_REDIS_URL", redis_url)
    loaded = load_settings()
    assert loaded.home == home
    return loaded


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    owner = Settings(env="test", home=tmp_path_factory.mktemp("redis"))
    yield redis_server.redis_url(owner)
    redis_server.stop_embedded(owner)


@pytest.fixture
def redis_url(_redis_server: str) -> str:
    """A real server, emptied before each test."""
    with redis.Redis.from_url(_redis_server) as client:
        client.flushall()
    return _redis_server


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[SparkSession]":
    """The one session of the run: local[2], as built for every job."""
    from runtime.spark_session import build_session

    session = build_session("tidemark-tests", Settings(env="test", home=tmp_path_factory.mktemp("spark")))
    yield session
    session.stop()


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real broker, empty at the start of the run; topics are created on first use."""
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka"))
    yield broker.start()
    broker.stop()


@pytest.fixture(scope="session")
def brokers() -> Iterator[str]:
    """host:port of librdkafka's own mock cluster: a real protocol, no JVM; not all that a broker can."""
    cluster = AdminClient({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del cluster
