"""Kafka goes away in the middle of a batch, deletes what was not read, gets the same events twice."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from conf.settings import Settings
from intake.source import open_source
from tests.faults.rig import Rig, wait_for
from tests.kafka_broker import KafkaBroker
from tidemark import keys
from tidemark.contracts import load_contracts

pytestmark = [pytest.mark.spark, pytest.mark.kafka, pytest.mark.fault]
START = 1_767_225_600
"""2026-01-01T00:00:00Z"""
CONTRACTS = Path(__file__).parents[2] / "conf" / "contracts"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A broker that these tests may kill; each has topics of its own on it."""
    running = KafkaBroker(tmp_path_factory.mktemp("kafka-faults"))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def rig(settings: Settings, tmp_path: Path, broker: KafkaBroker) -> Rig:
    rig = Rig(settings, tmp_path)
    rig.environment = {
        "TIDEMARK_SOURCE": "kafka",
        "TIDEMARK_KAFKA_BOOTSTRAP": broker.bootstrap,
        "TIDEMARK_KAFKA_TOPIC_PREFIX": f"{tmp_path.name}.",
    }
    return rig


def produce(rig: Rig, seed: int, rate: float = 50, after_minutes: int = 0, minutes: int = 10) -> None:
    start = START + after_minutes * 60
    with rig.produce(rate, minutes * 60, seed, "--invalid", "0.02", "--duplicates", "0.02", start=start) as producer:
        assert producer.wait() == 0, producer.text()


def is_in_a_batch(rig: Rig, lane: str) -> bool:
    """Whether a batch of the lane is planned and not committed."""
    folder = Path(keys.checkpoint(rig.settings.checkpoints_uri, "access", lane))
    planned, done = ({f.name for f in (folder / log).glob("[0-9]*")} for log in ("offsets", "commits"))
    return bool(planned - done)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [10, 150])
def test_a_broker_that_is_killed_in_the_middle_of_a_batch(rig: Rig, broker: KafkaBroker, seconds: int) -> None:
    produce(rig, 11, rate=100)
    with rig.stream() as driver:
        wait_for(lambda: is_in_a_batch(rig, "exact") and is_in_a_batch(rig, "lake"), 120, driver.text)
        broker.kill()
        time.sleep(seconds)
        assert driver.is_alive, driver.text()[-4000:]
        broker.start()
        produce(rig, 12, after_minutes=8)
        caught_up_s = rig.wait_exact(240)
        assert driver.stop() == 0, driver.text()[-4000:]
    rig.drain()
    counts = rig.assert_conserved()
    assert rig.assert_bronze_exact() == counts["received"]
    print(f"broker away for {seconds} s: exact {caught_up_s:.1f} s after it was back")


@pytest.mark.long
def test_what_retention_deletes_unread_stops_the_stream_and_is_named(rig: Rig, broker: KafkaBroker) -> None:
    produce(rig, 13)
    rig.drain()
    topic = rig.environment["TIDEMARK_KAFKA_TOPIC_PREFIX"] + "access"
    source = open_source(rig._settings(), load_contracts([CONTRACTS])["access"].newest)
    read = source.end_position()[topic]
    produce(rig, 14, after_minutes=10, minutes=2)
    written = source.end_position()[topic]
    partition = max(written, key=lambda name: written[name] - read[name])
    first, end = read[partition], written[partition]
    kept_from = first + (end - first) // 2
    delete_before(broker, topic, int(partition), kept_from)
    lost = f"{topic} partition {partition} offsets {first} to {kept_from - 1}"
    for _ in range(2):
        with rig.stream("--once") as driver:
            assert driver.wait() == 1
            assert lost in driver.text()
            assert "kafka-retention-passed.md" in driver.text()
    assert rig.wrong_values() == []
    assert not rig.answer("10m", START, START + 3600)["complete"]


@pytest.mark.long
def test_what_retention_deletes_under_an_idle_stream_that_was_stopped_is_not_taken_for_an_empty_backlog(
    rig: Rig, broker: KafkaBroker
) -> None:
    produce(rig, 15)
    rig.drain()
    topic = rig.environment["TIDEMARK_KAFKA_TOPIC_PREFIX"] + "access"
    source = open_source(rig._settings(), load_contracts([CONTRACTS])["access"].newest)
    produce(rig, 16, after_minutes=10, minutes=2)
    for partition, end in source.end_position()[topic].items():
        delete_before(broker, topic, int(partition), end)
    found = rig.answer("10m", START, START + 3600)
    assert (found["complete"], {gap["reason"] for gap in found["missing"]}) == (False, {"speed_stopped"})
    assert rig.status()["lag_seconds"] > 0


@pytest.mark.long
def test_a_producer_that_sends_everything_twice_is_counted_once(rig: Rig) -> None:
    file, ledger = rig.folder / "events.ndjson", rig.folder / "ledger.ndjson"
    simulate = ["--rate", "20", "--seconds", "600", "--seed", "17", "--start", "2026-01-01T00:00:00Z"]
    with rig.command("simulate", "access", *simulate, "--to", str(file), "--ledger", str(ledger)) as producer:
        assert producer.wait() == 0, producer.text()
    rig.ledgers.append(ledger)
    for _ in range(2):
        with rig.command("ingest", "access", str(file)) as ingest:
            assert ingest.wait() == 0, ingest.text()
    rig.drain()
    rig.assert_exact()
    counts = rig.assert_conserved()
    assert counts["duplicates"] == counts["valid"] == len(rig.events())


def delete_before(broker: KafkaBroker, topic: str, partition: int, offset: int) -> None:
    """What retention does: everything below the offset is gone."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    next(iter(admin.delete_records([TopicPartition(topic, partition, offset)]).values())).result()
