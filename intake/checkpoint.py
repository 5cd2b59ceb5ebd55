"""What a streaming query has consumed for good, read from Spark's checkpoint folder without Spark.

Layout (Spark 4.1): `offsets/N` is written before batch N runs: `v1`, a metadata line, one line per source with the
end offset of the batch (`-` when it has none yet). `commits/N` appears when batch N is done. The file source's
offset is `{"logOffset": n}`, a batch number of its own log `sources/0`: one JSON line per file, in `<n>` or, every
tenth, in `<n>.compact` with all that came before. Trap: that log runs ahead of commits, so entries with a higher
`batchId` than the committed offset are not consumed. Kafka's offset is `{topic: {partition: next_offset}}`.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from pyarrow import fs

from intake.checkpoint_file import parse_line, read_lines
from intake.position import SEGMENTS, Position
from tidemark.errors import CheckpointDamaged, Fault

_COMPACT = ".compact"
_LOG = "sources/0"


def consumed_position(checkpoint_uri: str) -> Position | None:
    """End position of the last committed batch of a query over one source; None before its first commit.

    A folder on disk, `file://`, `s3://` or `s3a://`. CheckpointDamaged names the file that cannot be trusted; Fault
    when the checkpoint cannot be read.
    """
    try:
        files, root = _open(checkpoint_uri)
        batch = max(_numbers(files, f"{root}/commits"), default=None)
        if batch is None:
            return None
        offset = _last_offset(files, root, batch)
        if offset is not None and "logOffset" in offset:
            return {SEGMENTS: sorted(_consumed_segments(checkpoint_uri.rstrip("/"), offset["logOffset"]))}
        return offset
    except OSError as error:
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


def _last_offset(files: fs.FileSystem, root: str, batch: int) -> Position | None:
    path = f"offsets/{batch}"
    lines = read_lines(files, root, path)
    if len(lines) != 2:
        raise CheckpointDamaged(root, path, f"has {len(lines) - 1} sources where one was expected")
    return None if lines[1] == "-" else parse_line(root, path, lines, 1)


def _consumed_segments(checkpoint_uri: str, last: int) -> Iterator[str]:
    """Trap: to Spark, a log that is gone means segments that it has never seen, and it reads them again."""
    files, root = _open(checkpoint_uri)
    logs = {info.base_name: info for info in _list(files, f"{root}/{_LOG}")}
    compacted = [int(name.removesuffix(_COMPACT)) for name in logs if name.endswith(_COMPACT)]
    newest = max(compacted, default=-1)
    if newest >= 0:
        info = logs[f"{newest}{_COMPACT}"]
        entries = _compacted_entries(checkpoint_uri, info.base_name, info.mtime_ns or 0, info.size)
        yield from (name for name, batch in entries if batch <= last)
    for number in range(newest + 1, last + 1):
        yield from (segment for segment, _ in _entries(files, root, f"{_LOG}/{number}"))


@lru_cache(maxsize=32)
def _compacted_entries(checkpoint_uri: str, name: str, mtime_ns: int, size: int) -> tuple[tuple[str, int], ...]:
    """Cached by time and size: it grows with the life of the query, and every status and answer asks for it."""
    return tuple(_entries(*_open(checkpoint_uri), f"{_LOG}/{name}"))


def _entries(files: fs.FileSystem, root: str, path: str) -> Iterator[tuple[str, int]]:
    lines = read_lines(files, root, path)
    for number, line in enumerate(lines):
        if line:
            entry = parse_line(root, path, lines, number)
            yield unquote(entry["path"].rsplit("/", 1)[1]), entry["batchId"]
