"""Sends a run's records where they are wanted, at their own pace or as fast as possible, and keeps the ledger."""

import gzip
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from data.stream import Kind, Sent
from intake.source import Source
from tidemark.errors import Fault, UserError

TICK_MS = 500
"""Pace: records due in the same half second are sent together, at its end, so that none is sent before its time."""
BATCH_RECORDS = 50_000
BATCH_BYTES = 8 * 1024 * 1024


class Target(Protocol):
    """Where records go."""

    def send(self, records: list[bytes]) -> None:
        """Durable, as far as the target can, when it returns."""


@dataclass(slots=True)
class Sums:
    """What was sent so far, by kind."""

    kinds: Counter[Kind] = field(default_factory=Counter)
    size_bytes: int = 0

    @property
    def records(self) -> int:
        return self.kinds.total()

    @property
    def in_ledger(self) -> int:
        return self.records - self.kinds[Kind.DUPLICATE] - self.kinds[Kind.INVALID]


def emit(batches: Iterable[list[Sent]], target: Target, ledger: IO[bytes] | None) -> Iterator[Sums]:
    """Sends every batch and then books it, yielding the sums so far. The ledger holds only what was sent."""
    sums = Sums()
    for batch in batches:
        target.send([sent.raw for sent in batch])
        if ledger is not None:
            ledger.writelines(sent.raw + b"\n" for sent in batch if sent.in_ledger)
            ledger.flush()
        kinds = [sent.kind for sent in batch]
        for kind in Kind:
            sums.kinds[kind] += kinds.count(kind)
        sums.size_bytes += sum(len(sent.raw) for sent in batch)
        yield sums


def at_once(records: Iterable[Sent]) -> Iterator[list[Sent]]:
    """Batches of bounded size, without waiting."""
    batch: list[Sent] = []
    size_bytes = 0
    for sent in records:
        batch.append(sent)
        size_bytes += len(sent.raw)
        if len(batch) >= BATCH_RECORDS or size_bytes >= BATCH_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def at_pace(
    records: Iterable[Sent],
    start_ms: int,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[Sent]]:
    """Batches when they are due by the wall clock; late batches follow at once until the pace is met again."""
    batch: list[Sent] = []
    tick_end_ms = start_ms + TICK_MS
    for sent in records:
        while sent.at_ms >= tick_end_ms:
            _wait_until(tick_end_ms, clock, sleep)
            yield from at_once(batch)
            batch, tick_end_ms = [], tick_end_ms + TICK_MS
        batch.append(sent)
    if batch:
        _wait_until(batch[-1].at_ms + 1, clock, sleep)
        yield from at_once(batch)


def _wait_until(at_ms: int, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
    left_s = at_ms / 1000 - clock()
    if left_s > 0:
        sleep(left_s)


class SourceTarget:
    """The configured source."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def send(self, records: list[bytes]) -> None:
        self._source.append(records)


class FileTarget:
    """Newline-delimited JSON in a file. A record that itself holds a newline would become two: none here does."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def send(self, records: list[bytes]) -> None:
        try:
            self._file.write(b"\n".join(records) + b"\n")
        except OSError as error:
            raise Fault(f"cannot write: {error.strerror}") from error


@contextmanager
def open_output(name: str) -> Iterator[IO[bytes]]:
    """A new file, compressed when it ends in `.gz`; `-` is standard output. UserError when it cannot be written."""
    with ExitStack() as opened:
        try:
            if name == "-":
                yield sys.stdout.buffer
                sys.stdout.buffer.flush()
                return
            file: IO[bytes] = opened.enter_context(Path(name).open("wb"))
            if name.endswith(".gz"):
                # Without name and time inside, the same records give the same bytes.
                file = opened.enter_context(gzip.GzipFile("", "wb", 5, file, mtime=0))  # type: ignore[arg-type]
        except OSError as error:
            raise UserError(f"{name}: cannot write: {error.strerror}") from error
        yield file
