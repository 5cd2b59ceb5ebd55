"""The `kafka` source: one topic per contract, keyed by the contract's key so that an entity stays in one partition."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
    Uuid,
)
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # it is documented

from intake.position import Position
from intake.source import Appended, Backlog, LostRange, StoredRecord, steps
from tidemark.errors import Fault, SourceUnavailable

_TIMEOUT_S = 10.0
_DELIVERY_TIMEOUT_S = 30.0
_UNLIMITED_BYTES = 1_000_000_000
_NO_ID = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNSUPPORTED_FEATURE, KafkaError.UNSUPPORTED_VERSION)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class KafkaSource:
    """One topic. Appends are idempotent per producer and acknowledged by all in-sync replicas."""

    def __init__(self, bootstrap: str, topic: str, key_field: str, now_s: Callable[[], float] = time.time) -> None:
        self.topic = topic
        self._now_s = now_s
        self._bootstrap = bootstrap
        self._key_field = key_field
        self._producer: Producer | None = None
        self._consumer: Consumer | None = None
        # Lanes and requests ask one source at once, and a consumer reads for whoever assigned it last.
        self._reading = threading.Lock()

    def prepare(self) -> None:
        """Creates the topic with the broker's defaults unless it exists."""
        if self._partitions():
            return
        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        future = admin.create_topics([NewTopic(self.topic)], request_timeout=_TIMEOUT_S)[self.topic]
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise _fault(error) from error

    def append(self, records: Iterable[bytes]) -> int:
        """Sends all records; every one is acknowledged when it returns."""
        return sum(step.records for step in self.append_steps(records))

    def append_steps(self, records: Iterable[bytes]) -> Iterator[Appended]:
        """Each step is flushed and acknowledged. Trap: of a step that fails, some records may have been stored."""
        for values in steps(records):
            self._send(values)
            yield Appended(len(values), sum(map(len, values)))

    def end_position(self) -> Position:
        """The high watermark of every partition; no partitions when the topic is absent."""
        return {self.topic: {str(partition): high for partition, (_, high) in self._bounds().items()}}

    def backlog(self, consumed: Position | None) -> Backlog:
        """Records behind `consumed`, also those that the broker has deleted since: they were never taken. Of a topic of
        which nothing was consumed, or that was made anew and is shorter, those that it has now."""
        taken = (consumed or {}).get(self.topic, {})
        bounds = self._bounds()
        starts = {partition: _start(taken.get(str(partition)), *ends) for partition, ends in bounds.items()}
        records = sum(high - starts[partition] for partition, (_, high) in bounds.items())
        if not records:
            return Backlog(0, None)
        heads = {partition: max(low, starts[partition]) for partition, (low, _) in bounds.items()}
        return Backlog(records, self._oldest({at: head for at, head in heads.items() if head < bounds[at][1]}))

    def lost(self, consumed: Position | None) -> tuple[LostRange, ...]:
        """What retention took before it was read; also a partition that ends before what was read of it."""
        taken = (consumed or {}).get(self.topic, {})
        bounds = self._bounds() if taken else {}
        ranges = []
        for partition, offset in sorted(taken.items(), key=lambda item: int(item[0])):
            low, high = bounds.get(int(partition), (0, 0))
            if high < offset:
                ranges.append(LostRange(self.topic, partition, offset, None))
            elif low > offset:
                ranges.append(LostRange(self.topic, partition, offset, low - 1))
        return tuple(ranges)

    def log_id(self) -> str | None:
        """The topic's id; None of a topic that is absent, and of brokers that do not give one (before Kafka 2.8)."""
        admin = AdminClient({"bootstrap.servers": self._bootstrap, "log_level": 0})
        asked = admin.describe_topics(TopicCollection([self.topic]), request_timeout=_TIMEOUT_S)
        try:
            topic_id = asked[self.topic].result().topic_id
        except KafkaException as error:
            if error.args[0].code() in _NO_ID:
                return None
            raise _fault(error) from error
        return str(topic_id) if topic_id != Uuid(0, 0) else None

    def has_data(self) -> bool:
        return self.appended_ever() > 0

    def appended_ever(self) -> int:
        """Trap: offsets are counted, so transaction markers of foreign producers would count as records."""
        return sum(high for _, high in self._bounds().values())

    def removed_ever(self) -> int:
        return sum(low for low, _ in self._bounds().values())

    def iter_records(self) -> Iterator[StoredRecord]:
        """Partition by partition, each from its beginning to the end that it has now."""
        for partition, (low, high) in self._bounds().items():
            for message in self._read(partition, low, high):
                yield _stored(message)

    def _send(self, values: list[bytes]) -> None:
        failures: list[str] = []

        def on_delivery(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error.str())

        try:
            self._produce(values, on_delivery)
        except KafkaException as error:
            raise _fault(error) from error
        if failures:
            raise Fault(f"source: kafka: {len(failures)} of {len(values)} records not delivered: {failures[0]}")

    def _produce(self, values: list[bytes], on_delivery: Any) -> None:
        producer = self._open_producer()
        for value in values:
            key = _key(value, self._key_field)
            while True:
                try:
                    producer.produce(self.topic, value, key, on_delivery=on_delivery)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        if producer.flush(_DELIVERY_TIMEOUT_S + _TIMEOUT_S):
            raise Fault("source: kafka: the broker did not acknowledge in time")

    def _open_producer(self) -> Producer:
        if self._producer is None:
            self._producer = Producer(
                {
                    "bootstrap.servers": self._bootstrap,
                    "enable.idempotence": True,
                    "acks": "all",
                    "compression.type": "lz4",
                    "linger.ms": 5,
                    "message.max.bytes": _UNLIMITED_BYTES,
                    "delivery.timeout.ms": int(_DELIVERY_TIMEOUT_S * 1000),
                    "log_level": 0,
                }
            )
        return self._producer

    def _open_consumer(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(
                {
                    "bootstrap.servers": self._bootstrap,
                    "group.id": "tidemark-intake",
                    "enable.auto.commit": False,
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 20,
                    "log_level": 0,
                }
            )
        return self._consumer

    def _partitions(self) -> list[int]:
        try:
            metadata = self._open_consumer().list_topics(self.topic, timeout=_TIMEOUT_S).topics[self.topic]
        except KafkaException as error:
            raise _fault(error) from error
        if metadata.error is not None and metadata.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise Fault(f"source: kafka: topic {self.topic}: {metadata.error.str()}")
        return sorted(metadata.partitions)

    def _bounds(self) -> dict[int, tuple[int, int]]:
        consumer = self._open_consumer()
        try:
            return {
                partition: consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=_TIMEOUT_S)
                for partition in self._partitions()
            }
        except KafkaException as error:
            raise _fault(error) from error

    def _oldest(self, starts: dict[int, int]) -> datetime | None:
        """None also when a head claims a time to come: its producer's clock is ahead, and when it came is not known."""
        with self._reading:
            heads = [next(self._read(partition, start, start + 1), None) for partition, start in starts.items()]
        times = [_received_at(head) for head in heads if head is not None]
        return min(times, default=None) if max(times, default=_EPOCH).timestamp() <= self._now_s() else None

    def _read(self, partition: int, start: int, end: int) -> Iterator[Message]:
        consumer = self._open_consumer()
        position = start
        consumer.assign([TopicPartition(self.topic, partition, start)])
        try:
            while position < end:
                message = consumer.poll(_TIMEOUT_S)
                if message is None or message.error() is not None:
                    raise Fault(f"source: kafka: cannot read {self.topic} at {partition}:{position}")
                position = int(message.offset() or 0) + 1
                if position <= end:
                    yield message
        finally:
            # Also for who looks at the first record only: a consumer goes on fetching what it is assigned.
            consumer.unassign()


def _start(taken: int | None, low: int, high: int) -> int:
    """Where a consumer goes on in a partition. One that ends before what was taken was made anew."""
    return low if taken is None or taken > high else taken


def _key(value: bytes, field: str) -> bytes | None:
    """The event's key as bytes; None (any partition) when the record is not an object or has no such text."""
    try:
        event = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    key = event.get(field) if isinstance(event, dict) else None
    return None if key is None else str(key).encode("utf-8", "surrogatepass")


def _received_at(message: Message) -> datetime:
    return datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)


def _stored(message: Message) -> StoredRecord:
    value = message.value()
    return StoredRecord(
        value if isinstance(value, bytes) else b"",
        _received_at(message),
        str(message.topic()),
        int(message.partition() or 0),
        int(message.offset() or 0),
    )


def _fault(error: KafkaException) -> Fault:
    return SourceUnavailable(f"source: kafka: {error.args[0].str()}")
