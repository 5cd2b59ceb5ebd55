"""What Spark's checkpoint says of the last committed batch, read without Spark.

`offsets/N` holds the plan of batch N: its watermark, when it was planned, and the end offset of the source;
`commits/N` appears when N is done and holds the watermark that N's events lead to.
"""

import re
from dataclasses import dataclass
from typing import Any

from pyarrow import fs

from conf.locations import is_remote
from intake.checkpoint import consumed_position
from intake.checkpoint_file import parse_line, read_lines
from intake.position import SEGMENTS, Position
from tidemark.errors import CheckpointDamaged, Fault

_DRAFT = re.compile(r"\.{1,2}\d+\.[0-9a-f-]{36}\.tmp(\.crc)?")
"""Spark writes `.N.<uuid>.tmp`, then renames it; Hadoop adds a checksum beside it."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The last committed batch. `watermark_s` and `next_watermark_s`: event time, 0 before the first event."""

    batch: int
    watermark_s: int
    next_watermark_s: int
    planned_at: float


class CheckpointLog:
    """Logs of one checkpoint with one source."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        if is_remote(uri):
            self._files, self._root = fs.FileSystem.from_uri(uri.replace("s3a://", "s3://", 1))
        else:
            self._files, self._root = fs.LocalFileSystem(), uri

    def last_commit(self) -> Commit | None:
        """None before the first commit."""
        batch = self._newest("commits")
        if batch is None:
            return None
        committed, planned = self._fields(f"commits/{batch}"), self._fields(f"offsets/{batch}")
        try:
            return Commit(
                batch,
                planned["batchWatermarkMs"] // 1000,
                committed.get("nextBatchWatermarkMs", 0) // 1000,
                planned["batchTimestampMs"] / 1000,
            )
        except (KeyError, TypeError) as error:
            raise CheckpointDamaged(self._root, f"offsets/{batch}", "is altered") from error

    def last_planned(self) -> int | None:
        """The newest batch that was planned, done or not."""
        return self._newest("offsets")

    def is_settled(self) -> bool:
        """Whether every planned batch is committed."""
        return self._newest("offsets") == self._newest("commits")

    def remove_drafts(self) -> None:
        """Delete log files that a killed process was still writing: Spark refuses to begin where it finds one.

        Only for who is about to run the query: a draft of a living one would be taken from it.
        """
        for folder in ("offsets", "commits"):
            for name in self._names(folder):
                if _DRAFT.fullmatch(name):
                    self._files.delete_file(f"{self._root}/{folder}/{name}")

    def consumed_position(self) -> Position | None:
        """The source position after the last commit; None before it."""
        return consumed_position(self.uri)

    def end_offset(self, batch: int) -> dict[str, Any] | None:
        """The source offset at which a planned batch ends, as Spark writes it; None when it has none."""
        path = f"offsets/{batch}"
        lines = self._lines(path)
        return None if lines[1:] == ["-"] else parse_line(self._root, path, lines, 1)

    def segments_of(self, first: int, last: int) -> list[str]:
        """Names of the segments that the file source took at its log numbers `first..last`."""
        names = []
        for number in range(first, last + 1):
            for entry in self._file_log(number):
                if entry["batchId"] == number:
                    names.append(entry["path"].rsplit("/", 1)[1])
        return names

    def _file_log(self, number: int) -> list[dict[str, Any]]:
        """Every tenth log file is named `.compact` and holds the older entries too."""
        path = f"sources/0/{number}"
        found = self._files.get_file_info(f"{self._root}/{path}").type == fs.FileType.File
        path = path if found else f"{path}.compact"
        lines = self._lines(path)
        return [parse_line(self._root, path, lines, at) for at, line in enumerate(lines) if line]

    def _newest(self, folder: str) -> int | None:
        return max((int(name) for name in self._names(folder) if name.isdecimal()), default=None)

    def _names(self, folder: str) -> list[str]:
        selector = fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True)
        try:
            return [info.base_name for info in self._files.get_file_info(selector)]
        except OSError as error:
            raise Fault(f"checkpoint {self.uri}: cannot be read: {error}") from error

    def _fields(self, path: str) -> dict[str, Any]:
        return parse_line(self._root, path, self._lines(path), 0)

    def _lines(self, path: str) -> list[str]:
        return read_lines(self._files, self._root, path)


class PositionTracker:
    """The source position that a query reaches with each batch, as `intake` writes positions."""

    def __init__(self, log: CheckpointLog) -> None:
        self._log = log
        self._position: Position = consumed_position(log.uri) or {}
        self._file_log = -1
        commit = log.last_commit()
        if SEGMENTS in self._position and commit is not None:
            self._file_log = (log.end_offset(commit.batch) or {}).get("logOffset", -1)

    @property
    def position(self) -> Position:
        return self._position

    def advance(self, batch: int) -> Position:
        """The position after a planned batch; the same again when the batch is replayed."""
        offset = self._log.end_offset(batch)
        if offset is None:
            return self._position
        if "logOffset" not in offset:
            self._position = offset
            return self._position
        segments = self._position.setdefault(SEGMENTS, [])
        segments += self._log.segments_of(self._file_log + 1, offset["logOffset"])
        self._file_log = max(self._file_log, offset["logOffset"])
        return self._position

    def keep_only(self, existing: set[str]) -> None:
        """Forget segments that were cleaned away: the position names only what a reader may still find."""
        if SEGMENTS in self._position:
            self._position = {SEGMENTS: [name for name in self._position[SEGMENTS] if name in existing]}
