"""Reads records from files of newline-delimited JSON, in constant memory, whatever the lines hold."""

import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from gzip import BadGzipFile, GzipFile
from io import BufferedReader
from pathlib import Path
from typing import cast

from tidemark.errors import UserError

STDIN = "-"
MAX_LINE_BYTES = 64 * 1024 * 1024
"""A longer line is no record of anybody: the file is refused. (From 1 MiB on, the stream quarantines a record.)"""
_BLOCK_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"


def check_readable(names: Sequence[str]) -> None:
    """UserError that names the first file that is absent or no file, so that nothing is appended for a typing error."""
    for name in names:
        if name == STDIN:
            continue
        path = Path(name)
        if not path.exists():
            raise UserError(f"{name}: no such file")
        if path.is_dir():
            raise UserError(f"{name}: is a folder")


def read_records(name: str) -> Iterator[bytes]:
    """Every line that is not blank, without its line end. `-` is standard input; `.gz` is unpacked.

    UserError names the file when it cannot be read, is corrupt, or has a line beyond MAX_LINE_BYTES. Trap: lines
    before a corrupt place have been yielded by then.
    """
    with _open(name) as file:
        for number, line in enumerate(_lines(_blocks(file, name), name)):
            record = line if number else line.removeprefix(_BOM)
            if record and not record.isspace():
                yield record.removesuffix(b"\r")


def _lines(blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
    pending: list[bytes] = []
    pending_bytes = 0
    for block in blocks:
        first, *rest = block.split(b"\n")
        pending.append(first)
        pending_bytes += len(first)
        if pending_bytes > MAX_LINE_BYTES:
            raise UserError(f"{name}: a line is longer than {MAX_LINE_BYTES >> 20} MiB: not newline-delimited JSON")
        if rest:
            yield b"".join(pending)
            yield from rest[:-1]
            pending, pending_bytes = [rest[-1]], len(rest[-1])
    yield b"".join(pending)


def _blocks(file: BufferedReader, name: str) -> Iterator[bytes]:
    while True:
        try:
            block = file.read1(_BLOCK_BYTES)
        except (BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{name}: corrupt gzip: {str(error).rstrip('.')}") from error
        except OSError as error:
            raise UserError(f"{name}: cannot be read: {error.strerror}") from error
        if not block:
            return
        yield block


@contextmanager
def _open(name: str) -> Iterator[BufferedReader]:
    if name == STDIN:
        yield cast(BufferedReader, sys.stdin.buffer)
        return
    with ExitStack() as opened:
        try:
            file = opened.enter_context(Path(name).open("rb"))
        except OSError as error:
            raise UserError(f"{name}: cannot be read: {error.strerror}") from error
        yield cast(BufferedReader, GzipFile(fileobj=file, mode="rb")) if name.endswith(".gz") else file
