"""The `kafka` source against librdkafka's own mock cluster (a real protocol, no JVM) and against a real broker."""

import os
import time

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from intake.kafka_log import KafkaSource
from intake.position import lag
from intake.source import Backlog, LostRange, refuse_lost
from tidemark.errors import Fault, SourceLost


def test_records_come_back_as_they_were_sent(brokers: str) -> None:
    source = KafkaSource(brokers, "sent", "device_id")
    sent = [b'{"device_id":"a","n":1}', b"no json", b"[1]", b'{"device_id":5}', b"\xff"]
    assert source.append(sent) == 5
    assert sorted(record.value for record in source.iter_records()) == sorted(sent)


def test_an_entity_stays_in_one_partition_in_order(brokers: str) -> None:
    source = KafkaSource(brokers, "keyed", "device_id")
    source.append(b'{"device_id":"dev-%d","n":%d}' % (n % 7, n) for n in range(700))
    stored = [record for record in source.iter_records() if b'"dev-3"' in record.value]
    assert len({record.source_partition for record in stored}) == 1
    assert [record.value for record in stored] == [b'{"device_id":"dev-3","n":%d}' % n for n in range(3, 700, 7)]


def test_backlog_is_what_the_consumer_lacks(brokers: str) -> None:
    source = KafkaSource(brokers, "backlog", "device_id")
    source.append([b"{}"] * 10)
    consumed = source.end_position()
    assert source.backlog(consumed).records == 0
    source.append([b"{}"] * 4)
    backlog = source.backlog(consumed)
    assert backlog.records == 4 == lag(source.end_position(), consumed)
    assert backlog.oldest_received_at is not None
    assert source.backlog(None).records == 14
    assert source.has_data()


def test_all_of_a_partition_that_ends_before_what_was_read_is_unread(brokers: str) -> None:
    """The topic was made anew: whoever asks must not be told that there is nothing to do, or nothing missing."""
    source = KafkaSource(brokers, "shorter", "device_id")
    source.append([b'{"device_id":"a"}'] * 6)
    ends = source.end_position()["shorter"]
    backlog = source.backlog({"shorter": {partition: end + (100 if end else 0) for partition, end in ends.items()}})
    assert backlog.records == 6
    assert backlog.oldest_received_at is not None


def test_a_broker_that_is_away_gives_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intake.kafka_log._TIMEOUT_S", 0.5)
    monkeypatch.setattr("intake.kafka_log._DELIVERY_TIMEOUT_S", 1.0)
    source = KafkaSource("127.0.0.1:9", "away", "device_id")
    with pytest.raises(Fault, match="source: kafka"):
        source.append([b"{}"])
    with pytest.raises(Fault, match="source: kafka"):
        source.end_position()


@pytest.mark.kafka
def test_what_retention_took_unread_is_named_and_stays_behind(kafka_bootstrap: str) -> None:
    source = KafkaSource(kafka_bootstrap, "retention", "device_id")
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap, "log_level": 0})
    admin.create_topics([NewTopic("retention", 1)])["retention"].result()
    source.append([b"{}"] * 10)
    consumed = {"retention": {"0": 4}}
    assert source.lost(consumed) == ()
    next(iter(admin.delete_records([TopicPartition("retention", 0, 7)]).values())).result()
    assert [str(each) for each in source.lost(consumed)] == ["retention partition 0 offsets 4 to 6"]
    assert source.backlog(consumed).records == 6
    assert (source.removed_ever(), source.appended_ever()) == (7, 10)
    next(iter(admin.delete_records([TopicPartition("retention", 0, 10)]).values())).result()
    assert source.backlog(consumed) == Backlog(6, None), "all that is left was deleted, yet it was never taken"
    assert source.lost({"retention": {"0": 7}}) == (LostRange("retention", "0", 7, 9),)
    assert source.lost({"retention": {"0": 10}}) == source.lost(None) == ()


@pytest.mark.kafka
def test_a_topic_that_was_made_anew_is_noticed(kafka_bootstrap: str) -> None:
    source = KafkaSource(kafka_bootstrap, "anew", "device_id")
    source.append([b"{}"] * 3)
    assert source.lost({"anew": {"0": 100}}) == (LostRange("anew", "0", 100, None),)


@pytest.mark.kafka
def test_a_topic_that_was_made_anew_and_has_outgrown_what_was_read_is_noticed(kafka_bootstrap: str) -> None:
    source = KafkaSource(kafka_bootstrap, "outgrown", "device_id")
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap, "log_level": 0})
    make_anew(admin, "outgrown")
    source.append([b"{}"] * 100)
    consumed, read = source.end_position(), source.log_id()
    assert read is not None
    refuse_lost(source, consumed, read, "access/lake")
    admin.delete_topics(["outgrown"])["outgrown"].result()
    make_anew(admin, "outgrown")
    source.append([b"{}"] * 150)
    assert source.lost(consumed) == (), "by its offsets alone it looks like a topic that has grown"
    with pytest.raises(SourceLost, match=r"access/lake: .*made anew.*runbooks/kafka-retention-passed"):
        refuse_lost(source, consumed, read, "access/lake")
    refuse_lost(source, consumed, None, "access/lake")
    refuse_lost(source, consumed, source.log_id(), "access/lake")


@pytest.mark.kafka
def test_a_topic_that_is_absent_has_no_id(kafka_bootstrap: str) -> None:
    assert KafkaSource(kafka_bootstrap, "absent", "device_id").log_id() is None


@pytest.mark.kafka
def test_a_real_broker_creates_the_topic_once_and_keeps_all_records(kafka_bootstrap: str) -> None:
    source = KafkaSource(kafka_bootstrap, "tidemark.intake", "device_id")
    assert source.end_position() == {"tidemark.intake": {}}
    source.prepare()
    KafkaSource(kafka_bootstrap, "tidemark.intake", "device_id").prepare()
    assert not source.has_data()
    sent = [b'{"device_id":"dev-%d"}' % n for n in range(60_000)]
    assert [step.records for step in source.append_steps(sent)] == [50_000, 10_000]
    assert sorted(record.value for record in source.iter_records()) == sorted(sent)
    assert source.backlog(None).records == 60_000 == source.appended_ever()


@pytest.mark.kafka
def test_a_record_beyond_what_the_broker_takes_is_a_clear_failure(kafka_bootstrap: str) -> None:
    source = KafkaSource(kafka_bootstrap, "tidemark.large", "device_id")
    source.prepare()
    with pytest.raises(Fault, match=r"^source: kafka: [12] of 2 records not delivered: .*size"):
        source.append([os.urandom(3_000_000), b"{}"])
    assert source.append([b"{}"]) == 1


def make_anew(admin: AdminClient, topic: str) -> None:
    """With one partition; a broker still deletes for a moment what has that name."""
    deadline = time.monotonic() + 30
    while True:
        try:
            admin.create_topics([NewTopic(topic, 1)])[topic].result()
            return
        except KafkaException:
            assert time.monotonic() < deadline
            time.sleep(0.2)
