"""The shared fixtures give what they promise."""

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from confluent_kafka import Consumer, Producer

from conf.settings import Settings
from tests.kafka_broker import KafkaBroker

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.mark.parametrize("round_", [1, 2])
def test_each_test_starts_with_an_empty_redis(settings: Settings, round_: int) -> None:
    with redis.Redis.from_url(settings.redis_url or "") as client:
        assert client.dbsize() == 0
        client.set("left", round_)


@pytest.mark.spark
def test_a_delta_table_is_written_and_read_in_utc(spark: "SparkSession", settings: Settings) -> None:
    table = f"{settings.lake_uri}/small"
    spark.sql("SELECT timestamp'2026-01-01 00:00:00' AS at, 1 AS n").write.format("delta").save(table)
    assert spark.read.format("delta").load(table).selectExpr("unix_seconds(at) AS s", "n").collect() == [
        (1767225600, 1)
    ]


@pytest.mark.kafka
def test_a_record_sent_to_the_broker_comes_back(kafka_bootstrap: str) -> None:
    topic = f"t-{uuid.uuid4().hex}"
    producer = Producer({"bootstrap.servers": kafka_bootstrap, "enable.idempotence": True})
    producer.produce(topic, b"hello")
    assert producer.flush(30) == 0
    consumer = Consumer({"bootstrap.servers": kafka_bootstrap, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.value() == b"hello"


@pytest.mark.kafka
def test_a_broker_starts_also_when_its_name_begins_with_a_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xf8" + bytes(15)))
    broker = KafkaBroker(tmp_path)
    try:
        assert broker.start() == broker.bootstrap
    finally:
        broker.stop()
