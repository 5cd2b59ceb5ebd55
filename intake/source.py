"""The source: where events wait, durably, until every streaming query has taken them.

Two kinds keep one protocol: `files` (segments in a folder) and `kafka` (a topic). A record is the raw bytes of one
event as it was sent; nothing here looks inside, except Kafka's producer, which reads the key.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from conf.settings import Settings
from intake.position import Position
from tidemark.contracts import Contract
from tidemark.errors import SettingsError, SourceLost

SEGMENT_RECORDS = 50_000
"""Records that one durable step holds at most."""
SEGMENT_BYTES = 32 * 1024 * 1024
"""Bytes of records after which a durable step is closed, so that memory stays bounded whatever the records' size."""


@dataclass(frozen=True, slots=True)
class Appended:
    """One durable step of an append: its records survive a power cut. `size_bytes` is of the records as sent."""

    records: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a consumer has still to take. `oldest_received_at` is None when there is nothing (or it is not known)."""

    records: int
    oldest_received_at: datetime | None


@dataclass(frozen=True, slots=True)
class LostRange:
    """Records `first` to `last` (offsets, inclusive) of a partition that the source deleted before they were taken.

    `last` is None when the log now ends before `first`: it was made anew, or cut.
    """

    topic: str
    partition: str
    first: int
    last: int | None

    def __str__(self) -> str:
        if self.last is None:
            return f"{self.topic} partition {self.partition} ends before offset {self.first}, which was read before"
        return f"{self.topic} partition {self.partition} offsets {self.first} to {self.last}"


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """One record with its source position; these order arrivals: (received_at, source, partition, offset)."""

    value: bytes
    received_at: datetime
    source: str
    source_partition: int
    source_offset: int


class Source(Protocol):
    """The log of one contract. Appenders may be many; methods raise Fault when the store is in trouble."""

    def prepare(self) -> None:
        """Creates the folder or topic, so that a stream can start before the first event."""

    def append(self, records: Iterable[bytes]) -> int:
        """Appends all records; returns how many. They are durable when it returns."""

    def append_steps(self, records: Iterable[bytes]) -> Iterator[Appended]:
        """Appends in bounded steps, each durable when it is yielded. Trap: nothing is sent unless iterated."""

    def end_position(self) -> Position:
        """The position behind the last durable record."""

    def backlog(self, consumed: Position | None) -> Backlog:
        """What lies behind `consumed` (None: nothing was consumed yet)."""

    def lost(self, consumed: Position | None) -> tuple[LostRange, ...]:
        """What was deleted behind `consumed` before it was taken; nothing when nothing was consumed yet."""

    def log_id(self) -> str | None:
        """What tells this log from one of the same name that was made anew; None when nothing does."""

    def has_data(self) -> bool:
        """Whether anything was ever appended, also when it has been cleaned away."""

    def appended_ever(self) -> int:
        """Records ever appended, also those cleaned away."""

    def removed_ever(self) -> int:
        """Of those, records cleaned away. Trap: not `appended_ever` less the backlog, for appenders do not wait."""

    def iter_records(self) -> Iterator[StoredRecord]:
        """Every record still stored, for tests and inspection. In arrival order within a source partition."""


def open_source(settings: Settings, contract: Contract) -> Source:
    """The configured source of a contract. SettingsError when the setting cannot be used yet or lacks something."""
    if settings.source == "files":
        from intake.segments import FileSource

        return FileSource(settings.home / "source" / contract.name)
    if settings.source == "kafka":
        from intake.kafka_log import KafkaSource

        if settings.kafka_bootstrap is None:
            raise SettingsError("TIDEMARK_KAFKA_BOOTSTRAP: must be set when TIDEMARK_SOURCE is kafka")
        topic = f"{settings.kafka_topic_prefix}{contract.name}"
        return KafkaSource(settings.kafka_bootstrap, topic, contract.key)
    raise SettingsError(f"TIDEMARK_SOURCE: {settings.source!r} is not available yet; use files or kafka")


def refuse_lost(source: Source, consumed: Position | None, log_id: str | None, reader: str) -> None:
    """SourceLost when the source no longer has what a reader must read next. Going on would be a silent skip.

    `log_id`: of the log that it has read, None when that is not known.
    """
    told = "; ".join(map(str, source.lost(consumed)))
    if not told and log_id is not None and source.log_id() not in (log_id, None):
        told = "the whole log, which was made anew under the same name"
    if told:
        raise SourceLost(
            f"{reader}: the source deleted records before they were read: {told}. "
            "A person decides how to go on: docs/runbooks/kafka-retention-passed.md"
        )


def steps(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cuts a stream of records into bounded lists, so that any input needs constant memory."""
    pending: list[bytes] = []
    size_bytes = 0
    for record in records:
        pending.append(record)
        size_bytes += len(record)
        if len(pending) >= SEGMENT_RECORDS or size_bytes >= SEGMENT_BYTES:
            yield pending
            pending, size_bytes = [], 0
    if pending:
        yield pending
