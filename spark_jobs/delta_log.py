"""What a Delta table's log says, by delta-rs and without Spark: what was appended since a version, with row counts.

Neither the change feed (it needs a table property from the first commit on) nor Spark is asked. Two versions' lists of
files tell what came between them: in a table that is only appended to, an older file goes by a rewrite alone, and only
then does the history have to say which commits were rewrites, whose files hold no new rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from pyarrow import fs

from tidemark.errors import LakeUnavailable
from tidemark.windows import Span

_REWRITE = "OPTIMIZE"
"""Operation of a commit that moves rows to other files and adds none; Spark and delta-rs call it the same."""
_MAINTENANCE = frozenset({_REWRITE, "DELETE", "VACUUM START", "VACUUM END"})
"""Operations that leave the rows of a table as they are, but for those that have had their time."""
_STATISTICS_S = 0.001
"""Delta's statistics cut timestamps to milliseconds."""


@dataclass(frozen=True, slots=True)
class AddedFile:
    """A data file that an append brought. `rows`: by its statistics, None when the writer made none."""

    uri: str
    rows: int | None = None


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
    """Files that hold what was appended in the versions `(after, upto]`; `after` -1: since the table began.

    None when the log no longer knows version `after` (Delta drops commits after its log retention): then only the whole
    table can be read. Raises LakeUnavailable.
    """
    if after >= upto:
        return []
    before, now = files_at(uri, after), files_at(uri, upto)
    if before is None or now is None:
        return None
    if before.keys() <= now.keys():
        return [file for path, file in now.items() if path not in before]
    added: dict[str, AddedFile] = {}
    rewrites = [version for version, operation in _operations(uri, after, upto).items() if operation == _REWRITE]
    for rewrite in [*sorted(rewrites), upto + 1]:
        last = files_at(uri, rewrite - 1)
        if last is None:
            return None
        added |= {path: file for path, file in last.items() if path not in before}
        before = (files_at(uri, rewrite) or {}) if rewrite <= upto else {}
    return list(added.values())


def files_at(uri: str, version: int) -> dict[str, AddedFile] | None:
    """path → file of a version; none before the first one. None when this version cannot be told any more."""
    if version < 0:
        return {}
    try:
        table = open_table(uri, version)
    except LakeUnavailable:
        head_version(uri)  # raises when it is the lake that is away, not the version
        return None
    if table is None:
        return None
    actions = pa.table(table.get_add_actions(flatten=True))
    paths = actions.column("path").to_pylist()
    counted = "num_records" in actions.column_names
    rows = actions.column("num_records").to_pylist() if counted else [None] * len(paths)
    return {path: AddedFile(f"{uri}/{unquote(path)}", n) for path, n in zip(paths, rows, strict=True)}


def is_written(uri: str, after: int, upto: int) -> bool:
    """Whether anything but maintenance came in the versions `(after, upto]`; also when the log no longer says so."""
    if after >= upto:
        return False
    before, now = files_at(uri, after), files_at(uri, upto)
    if before is None or now is None:
        return True
    return before.keys() != now.keys() and not _MAINTENANCE.issuperset(_operations(uri, after, upto).values())


def _operations(uri: str, after: int, upto: int) -> dict[int, str]:
    """version → operation of the commits in `(after, upto]`.

    Trap: the library counts versions down from the one it has loaded, but lists commits that came after it too.
    """
    while True:
        table = open_table(uri)
        if table is None:
            return {}
        commits = table.history(table.version() - after)
        if head_version(uri) == table.version():
            found = {int(each["version"]): str(each.get("operation")) for each in commits}
            return {version: operation for version, operation in found.items() if after < version <= upto}


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


def filesystem_of(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system that holds a URI, and the path on it."""
    if "://" not in uri:
        return fs.LocalFileSystem(), uri
    filesystem, path = fs.FileSystem.from_uri(uri.replace("s3a://", "s3://", 1))
    return filesystem, path.rstrip("/")
