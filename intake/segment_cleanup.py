"""Deletes consumed segments of the `files` source, and keeps count of what was deleted.

`_truncated.json` (hidden from Spark by its underscore) says how many records are no longer there: whoever starts a
query without a checkpoint can see that the source does not begin at its beginning any more. The count is exact
across kills: the segments to go are named in the marker, with their records counted, before the first is deleted;
the next run finishes deleting those without counting them again.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from intake.position import segment_received_ns, segment_records
from tidemark.errors import Fault
from tidemark.windows import epoch_seconds, iso

MARKER = "_truncated.json"
_LOCK = ".clean.lock"
_ABANDONED_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What one clean-up removed."""

    segments: int
    records: int


def clean_segments(
    folder: Path, names: Iterable[str], consumed_by_all: set[str], older_than_s: float, now: datetime
) -> Cleaned:
    """Removes segments that are due, and hidden files of dead appenders."""
    if not folder.is_dir():
        return Cleaned(0, 0)
    try:
        with _locked(folder):
            _finish_removal(folder)
            due = due_segments(names, consumed_by_all, older_than_s, now)
            going = [name for name in due if (folder / name).exists()]
            _remove_abandoned(folder, epoch_seconds(now))
            records = sum(map(segment_records, going))
            if going:
                _write_marker(folder, removed_records(folder) + records, going, iso(now))
                _finish_removal(folder)
    except OSError as error:
        raise Fault(f"source: cannot clean up: {error.strerror or error}") from error
    return Cleaned(len(going), records)


def due_segments(names: Iterable[str], consumed_by_all: set[str], older_than_s: float, now: datetime) -> list[str]:
    """Of these segments, those in `consumed_by_all` that were received before now - older_than_s."""
    before_ns = int((epoch_seconds(now) - older_than_s) * 1e9)
    return [name for name in names if name in consumed_by_all and segment_received_ns(name) < before_ns]


def removed_records(folder: Path) -> int:
    """Records that clean-ups have removed so far; 0 means that the source still starts at its beginning."""
    marker = _read_marker(folder)
    doomed = sum(segment_records(name) for name in marker["removing"] if (folder / name).exists())
    return int(marker["records"]) - doomed


def sync_folder(folder: Path) -> None:
    """Makes renames and deletions in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _finish_removal(folder: Path) -> None:
    marker = _read_marker(folder)
    if not marker["removing"]:
        return
    for name in marker["removing"]:
        (folder / name).unlink(missing_ok=True)
    sync_folder(folder)
    _write_marker(folder, marker["records"], [], marker["at"])


def _read_marker(folder: Path) -> dict[str, Any]:
    try:
        marker: dict[str, Any] = json.loads((folder / MARKER).read_text())
    except FileNotFoundError:
        return {"records": 0, "removing": [], "at": None}
    return marker


def _write_marker(folder: Path, records: int, removing: list[str], at: str | None) -> None:
    hidden = folder / f".{MARKER}"
    with hidden.open("w") as file:
        json.dump({"records": records, "removing": removing, "at": at}, file)
        file.flush()
        os.fsync(file.fileno())
    hidden.rename(folder / MARKER)
    sync_folder(folder)


def _remove_abandoned(folder: Path, now_s: float) -> None:
    for hidden in folder.glob(".*.parquet"):
        try:
            if hidden.stat().st_mtime < now_s - _ABANDONED_AFTER_S:
                hidden.unlink(missing_ok=True)
        except FileNotFoundError:
            continue


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
