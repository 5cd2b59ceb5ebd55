"""What a Delta table's log says, read without Spark: what was appended since a version, with row counts and statistics.

Spark's change feed needs a table property that must be there from the first commit; the log itself always tells which
files a commit added *as data*. Trap: comparing file lists would also find what OPTIMIZE rewrote.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow import fs

from tidemark.errors import LakeUnavailable
from tidemark.windows import Span

_READERS = 16
_STATISTICS_S = 0.001
"""Delta's statistics cut timestamps to milliseconds."""


@dataclass(frozen=True, slots=True)
class AddedFile:
    """A data file that an append brought. `statistics`: Delta's JSON statistics, empty when the writer made none."""

    uri: str
    statistics: dict[str, Any]

    @property
    def rows(self) -> int | None:
        rows = self.statistics.get("numRecords")
        return None if rows is None else int(rows)

    def least(self, column: str) -> Any:
        """The smallest value of a column as the log has it (timestamps as ISO text); None when not known."""
        return self.statistics.get("minValues", {}).get(column)


def open_table(uri: str, version: int | None = None) -> DeltaTable | None:
    """The table at a version (default: the newest); None when there is no table. Raises LakeUnavailable."""
    try:
        if not DeltaTable.is_deltatable(uri):
            return None
        return DeltaTable(uri, version=version)
    except (DeltaError, OSError) as error:
        raise LakeUnavailable(f"lake: cannot read {uri}: {' '.join(str(error).split())}") from error


def head_version(uri: str) -> int | None:
    """The newest version of a table; None when there is no table."""
    table = open_table(uri)
    return None if table is None else table.version()


def added_files(uri: str, after: int, upto: int) -> list[AddedFile] | None:
    """Files that the commits in `(after, upto]` added as data, in order of commit.

    None when the log no longer holds one of these commits (Delta drops them after its log retention): then only the
    whole table can be read.
    """
    filesystem, root = filesystem_of(uri)
    paths = [f"{root}/_delta_log/{version:020d}.json" for version in range(after + 1, upto + 1)]
    try:
        with ThreadPoolExecutor(_READERS) as pool:
            commits = list(pool.map(lambda path: _read_text(filesystem, path), paths))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LakeUnavailable(f"lake: cannot read the log of {uri}: {error}") from error
    return [AddedFile(f"{uri}/{unquote(path)}", stats) for text in commits for path, stats in _adds(text)]


def may_hold(uri: str, version: int, column: str, spans: Sequence[Span]) -> bool:
    """Whether a table has, at a version, files whose statistics of a timestamp column touch one of the spans."""
    table = open_table(uri, version)
    if table is None:
        return False
    actions = pa.table(table.get_add_actions(flatten=True))
    if f"min.{column}" not in actions.column_names:
        return bool(actions.num_rows > 0)
    lows, highs = (actions.column(f"{end}.{column}").to_pylist() for end in ("min", "max"))
    return any(
        low is None or high is None or _touches(low, high, span)
        for low, high in zip(lows, highs, strict=True)
        for span in spans
    )


def earliest(uri: str, version: int, column: str) -> float | None:
    """The smallest value of a timestamp column by the files' statistics, in epoch seconds; None when not known."""
    table = open_table(uri, version)
    actions = pa.table(table.get_add_actions(flatten=True) if table else {})
    if f"min.{column}" not in actions.column_names:
        return None
    lows = [low.timestamp() for low in actions.column(f"min.{column}").to_pylist() if low is not None]
    return min(lows, default=None)


def _touches(low: datetime, high: datetime, span: Span) -> bool:
    return bool(low.timestamp() < span.end and high.timestamp() + _STATISTICS_S >= span.start)


def data_files(uri: str, version: int) -> list[str]:
    """Every data file of a table at a version; none when there is no table."""
    table = open_table(uri, version)
    return [] if table is None else list(table.file_uris())


def total_rows(files: Sequence[AddedFile]) -> int | None:
    """Rows in these files by their statistics; None when one has no count."""
    counts = [file.rows for file in files]
    return None if None in counts else sum(count for count in counts if count is not None)


def _adds(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    # Trap: statistics hold text of events, and `splitlines` would also split at U+2028 and its like within them.
    for line in text.split("\n"):
        add = json.loads(line).get("add") if line.startswith('{"add"') else None
        if add is not None and add.get("dataChange", True):
            yield add["path"], json.loads(add.get("stats") or "{}")


def _read_text(filesystem: fs.FileSystem, path: str) -> str:
    with filesystem.open_input_stream(path) as stream:
        return str(stream.read().decode())


def filesystem_of(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system that holds a URI, and the path on it."""
    if "://" not in uri:
        return fs.LocalFileSystem(), uri
    filesystem, path = fs.FileSystem.from_uri(uri.replace("s3a://", "s3://", 1))
    return filesystem, path.rstrip("/")
