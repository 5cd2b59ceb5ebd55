"""What a streaming query has consumed for good, read from Spark's checkpoint folder without Spark.

Layout (Spark 4.1): `offsets/N` is written before batch N runs: `v1`, a metadata line, one line per source with the
end offset of the batch (`-` when it has none yet). `commits/N` appears when batch N is done. The file source's
offset is `{"logOffset": n}`, a batch number of its own log `sources/0`: one JSON line per file, in `<n>` or, every
tenth, in `<n>.compact` with all that came before. Trap: that log runs ahead of commits, so entries with a higher
`batchId` than the committed offset are not consumed. Kafka's offset is `{topic: {partition: next_offset}}`.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from pyarrow import fs

from intake.position import SEGMENTS, Position
from tidemark.errors import Fault

_COMPACT = ".compact"


def consumed_position(checkpoint_uri: str) -> Position | None:
    """End position of the last committed batch of a query over one source; None before its first commit.

    A folder on disk, `file://`, `s3://` or `s3a://`. Fault when the checkpoint cannot be read.
    """
    try:
        files, root = _open(checkpoint_uri)
        batch = max(_numbers(files, f"{root}/commits"), default=None)
        if batch is None:
            return None
        offset = _last_offset(files, f"{root}/offsets/{batch}")
        if offset is not None and "logOffset" in offset:
            log = f"{checkpoint_uri.rstrip('/')}/sources/0"
            return {SEGMENTS: sorted(_consumed_segments(log, offset["logOffset"]))}
        return offset
    except (OSError, ValueError) as error:
        raise Fault(f"checkpoint {checkpoint_uri}: cannot be read: {error}") from error


def _open(uri: str) -> tuple[fs.FileSystem, str]:
    if "://" not in uri and not uri.startswith("file:"):
        return fs.LocalFileSystem(), str(Path(uri).absolute())
    filesystem, path = fs.FileSystem.from_uri(uri.replace("s3a://", "s3://", 1))
    return filesystem, path.rstrip("/")


def _list(files: fs.FileSystem, folder: str) -> list[fs.FileInfo]:
    return [
        info
        for info in files.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        if info.type == fs.FileType.File
    ]


def _numbers(files: fs.FileSystem, folder: str) -> list[int]:
    return [int(info.base_name) for info in _list(files, folder) if info.base_name.isdecimal()]


def _read_lines(files: fs.FileSystem, path: str) -> list[str]:
    with files.open_input_stream(path) as stream:
        lines: list[str] = stream.read().decode().split("\n")
    if lines[0] != "v1":
        raise ValueError(f"unknown log version {lines[0][:20]!r}")
    return lines[1:]


def _last_offset(files: fs.FileSystem, path: str) -> Position | None:
    offsets = _read_lines(files, path)[1:]
    if len(offsets) != 1:
        raise ValueError(f"{len(offsets)} sources where one was expected")
    if offsets[0] == "-":
        return None
    offset: Position = json.loads(offsets[0])
    return offset


def _consumed_segments(log_uri: str, last: int) -> Iterator[str]:
    files, folder = _open(log_uri)
    logs = {info.base_name: info for info in _list(files, folder)}
    compacted = [int(name.removesuffix(_COMPACT)) for name in logs if name.endswith(_COMPACT)]
    newest = max(compacted, default=-1)
    if newest >= 0:
        info = logs[f"{newest}{_COMPACT}"]
        entries = _compacted_entries(f"{log_uri}/{info.base_name}", info.mtime_ns or 0, info.size)
        yield from (name for name, batch in entries if batch <= last)
    for name, info in logs.items():
        if name.isdecimal() and newest < int(name) <= last:
            yield from (segment for segment, _ in _entries(files, info.path))


@lru_cache(maxsize=32)
def _compacted_entries(uri: str, mtime_ns: int, size: int) -> tuple[tuple[str, int], ...]:
    """Cached by time and size: it grows with the life of the query, and every status and answer asks for it."""
    return tuple(_entries(*_open(uri)))


def _entries(files: fs.FileSystem, path: str) -> Iterator[tuple[str, int]]:
    for line in _read_lines(files, path):
        if line:
            entry = json.loads(line)
            yield unquote(entry["path"].rsplit("/", 1)[1]), entry["batchId"]
