"""The `files` source: a folder of immutable parquet segments, one log per contract.

A segment is `<received_ns:020d>-<unique>-<records>.parquet` with columns value (binary) and received_at (UTC, µs).
It is written under a name that starts with `.`, fsynced, renamed, and the folder fsynced: a reader sees a whole
segment or none, a kill at any point leaves at most a hidden file, and an acknowledged record survives a power cut.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from intake.position import SEGMENTS, Position, segment_received_ns, segment_records
from intake.segment_cleanup import Cleaned, clean_segments, due_segments, removed_records, sync_folder
from intake.source import Appended, Backlog, LostRange, StoredRecord, steps
from tidemark.errors import Fault

SCHEMA = pa.schema([("value", pa.binary()), ("received_at", pa.timestamp("us", tz="UTC"))])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FileSource:
    """Segments of one contract in `folder`. Any number of processes may append, read and clean at once."""

    def __init__(self, folder: Path, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self.folder = folder
        self._clock_ns = clock_ns
        self._last_us = 0

    def prepare(self) -> None:
        """Creates the folder durably."""
        try:
            for folder in reversed([self.folder, *self.folder.parents]):
                if not folder.exists():
                    folder.mkdir(exist_ok=True)
                    sync_folder(folder.parent)
        except OSError as error:
            raise _fault(error) from error

    def append(self, records: Iterable[bytes]) -> int:
        """Appends all records, durable when it returns."""
        return sum(step.records for step in self.append_steps(records))

    def append_steps(self, records: Iterable[bytes]) -> Iterator[Appended]:
        """One segment per step; records of the steps yielded so far stay durable when a later one fails."""
        for values in steps(records):
            self._write_segment(values)
            yield Appended(len(values), sum(map(len, values)))

    def end_position(self) -> Position:
        """All visible segments."""
        return {SEGMENTS: self.segment_names()}

    def lost(self, consumed: Position | None) -> tuple[LostRange, ...]:
        """Nothing: a segment is deleted only when every query that keeps its checkpoint has committed it."""
        return ()

    def log_id(self) -> str | None:
        """None: segments are known by their own names."""
        return None

    def backlog(self, consumed: Position | None) -> Backlog:
        """Records in segments that `consumed` lacks, and when the oldest of them came."""
        left = set(self.segment_names()).difference((consumed or {}).get(SEGMENTS, ()))
        if not left:
            return Backlog(0, None)
        oldest_us = min(map(segment_received_ns, left)) // 1000
        return Backlog(sum(map(segment_records, left)), _EPOCH + timedelta(microseconds=oldest_us))

    def has_data(self) -> bool:
        return self.appended_ever() > 0

    def removed_ever(self) -> int:
        return removed_records(self.folder)

    def appended_ever(self) -> int:
        return removed_records(self.folder) + sum(map(segment_records, self.segment_names()))

    def iter_records(self) -> Iterator[StoredRecord]:
        """Records of every segment that is still there, oldest segment first."""
        for name in self.segment_names():
            table = pq.read_table(self.folder / name, partitioning=None)
            rows = zip(table["value"].to_pylist(), table["received_at"].to_pylist(), strict=True)
            for offset, (value, received_at) in enumerate(rows):
                yield StoredRecord(value, received_at, name, 0, offset)

    def segment_names(self) -> list[str]:
        """Names of all visible segments, by time received; empty when the folder is absent."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _fault(error) from error
        return sorted(name for name in names if name.endswith(".parquet") and name[0].isdigit())

    def due(self, consumed_by_all: set[str], older_than_s: float, now: datetime) -> set[str]:
        """The segments that `clean` would delete."""
        return set(due_segments(self.segment_names(), consumed_by_all, older_than_s, now))

    def clean(self, consumed_by_all: set[str], older_than_s: float, now: datetime) -> Cleaned:
        """Deletes segments that every query has consumed and that are older than this; see segment_cleanup."""
        return clean_segments(self.folder, self.segment_names(), consumed_by_all, older_than_s, now)

    def _write_segment(self, values: list[bytes]) -> None:
        self.prepare()
        received_us = max(self._last_us + 1, self._clock_ns() // 1000)
        self._last_us = received_us
        name = f"{received_us * 1000:020d}-{secrets.token_hex(4)}-{len(values)}.parquet"
        hidden = self.folder / f".{name}"
        try:
            _write_durably(hidden, _encode(values, received_us))
            hidden.rename(self.folder / name)
            sync_folder(self.folder)
        except OSError as error:
            hidden.unlink(missing_ok=True)
            raise _fault(error) from error


def _encode(values: list[bytes], received_us: int) -> pa.Buffer:
    received_at = pa.repeat(pa.scalar(received_us, SCHEMA.field("received_at").type), len(values))
    table = pa.Table.from_arrays([pa.array(values, pa.binary()), received_at], schema=SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=1, use_dictionary=["received_at"])
    return sink.getvalue()


def _write_durably(path: Path, content: pa.Buffer) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _fault(error: OSError) -> Fault:
    return Fault(f"source: cannot keep events: {error.strerror or error}")
