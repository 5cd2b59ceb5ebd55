"""A consistent set of table versions of the lake, and the files that they consist of.

Nothing is locked: stream, batch and maintenance go on. Each table is pinned at one version, and a table that refers to
another is pinned before it, so that every version that is referred to is contained: the late ledger (names silver's
version), the publications (gold's and silver's), silver (bronze's, as its transaction version), quarantine (the same),
bronze. What comes out is a state that the lake would also have after a kill of stream and batch at some moment.

Versions and transaction numbers are part of that state, so tables are copied with their log, not cloned: a clone would
begin at version 0.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs

from spark_jobs.archive import files_below
from spark_jobs.delta_log import filesystem_of, head_version, open_table
from spark_jobs.ledgers import latest_publications
from tidemark.errors import Fault, LakeUnavailable
from tidemark.keys import LakeTables

LOG = "_delta_log"
_LOG_FILE = re.compile(r"(\d{20})\.(json|crc|checkpoint\..+)")
_SIDECARS = "_sidecars"
"""Folder of what checkpoints of the second kind point to; the names say no version."""
Sized = tuple[str, int]
"""(path below the lake, bytes)"""


def pin_tables(tables: LakeTables) -> dict[str, int]:
    """Table below the lake → version, in the order of a restore: a table comes after those that it refers to.

    Gold only as published: what a batch has written and not published is computed again. Raises LakeUnavailable.
    """
    late = _heads([tables.late])
    ledgers = _heads([tables.publications])
    pinned = latest_publications(tables, ledgers.get(tables.publications))
    reports = _heads([tables.parity, tables.gates])
    gold = {tables.gold(name): each.gold_version for name, each in pinned.items() if each.gold_version is not None}
    silver = _heads(_siblings(tables.silver("_")))
    quarantine = _heads(_siblings(tables.bronze_quarantine("_")))
    events = _heads(_siblings(tables.bronze_events("_")))
    ordered = events | quarantine | silver | gold | reports | late | ledgers
    return {uri.removeprefix(f"{tables.root.rstrip('/')}/"): version for uri, version in ordered.items()}


def data_of(lake: str, table: str, version: int) -> list[Sized]:
    """The data files of a table at a version, by the table's own list."""
    opened = open_table(f"{lake}/{table}", version)
    if opened is None:
        raise LakeUnavailable(f"lake: {table} was there a moment ago and is gone")
    actions = pa.table(opened.get_add_actions(flatten=True))
    pairs = zip(actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist(), strict=True)
    return sorted((f"{table}/{unquote(path)}", size) for path, size in pairs)


def log_of(lake: str, table: str, version: int) -> list[Sized]:
    """The files of a table's log up to a version: bytes to copy. The hint `_last_checkpoint` may name a later one."""
    return sorted(_log_files(f"{lake}/{table}", version, lake))


def _log_files(uri: str, version: int, lake: str) -> Iterator[Sized]:
    root = filesystem_of(lake)[1]
    for info in files_below(f"{uri}/{LOG}"):
        named = _LOG_FILE.fullmatch(info.base_name)
        if (named and int(named[1]) <= version) or info.path.endswith(f"/{_SIDECARS}/{info.base_name}"):
            yield info.path.removeprefix(f"{root}/"), info.size


def anchors_of(log: Sequence[str]) -> set[str]:
    """The files of a log that a reader can start at: its first commit, and whatever is not a commit.

    Without them the others cannot be opened as a table at all: who copies these last never shows half a log.
    """
    commits = sorted(path for path in log if _is_commit(path))
    return {path for path in log if path not in commits[1:]}


def _is_commit(path: str) -> bool:
    named = _LOG_FILE.fullmatch(path.rsplit("/", 1)[-1])
    return named is not None and named[2] == "json"


def verify_tables(lake: str, tables: Mapping[str, int], sizes: Mapping[str, int]) -> None:
    """Fault unless every table opens at its version, the newest it has, and lists files of these sizes.

    `sizes`: bytes by path below the lake.
    """
    for table, version in tables.items():
        if head_version(f"{lake}/{table}") != version:
            raise Fault(f"{lake}/{table} is not at version {version}")
        lost = next((path for path, size in data_of(lake, table, version) if sizes.get(path) != size), None)
        if lost is not None:
            raise Fault(f"{lake}/{table} names {lost}, which is not there as it was written")


def received_through(lake: str, pinned: dict[str, int]) -> dict[str, str]:
    """Contract → when the newest record of its bronze was received, by the files' statistics."""
    newest: dict[str, datetime] = {}
    for table, version in pinned.items():
        if not table.startswith("bronze/"):
            continue
        opened = open_table(f"{lake}/{table}", version)
        actions = pa.table(opened.get_add_actions(flatten=True) if opened else {})
        if "max.received_at" in actions.column_names:
            times = [at for at in actions.column("max.received_at").to_pylist() if at is not None]
            contract = table.rsplit("/", 1)[1]
            known = newest.get(contract)
            newest.update({contract: max([*times, known] if known else times)} if times else {})
    return {name: at.astimezone(UTC).isoformat() for name, at in newest.items()}


def _heads(uris: list[str]) -> dict[str, int]:
    heads = ((uri, head_version(uri)) for uri in uris)
    return {uri: version for uri, version in heads if version is not None}


def _siblings(uri: str) -> list[str]:
    """The folders beside a table, by name."""
    parent = uri.rsplit("/", 1)[0]
    files, root = filesystem_of(parent)
    try:
        found = files.get_file_info(fs.FileSelector(root, allow_not_found=True))
    except OSError as error:
        raise LakeUnavailable(f"lake: cannot list {parent}: {error}") from error
    return [f"{parent}/{info.base_name}" for info in found if info.type == fs.FileType.Directory]
