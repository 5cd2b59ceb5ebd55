"""Backup: the lake at a consistent set of versions, the metadata, the definitions and the key of masked values.

Whole and self-contained each time, into a folder of its own. Every table is opened there once more, and the manifest
with sizes and checksums ends it. Nothing is stopped for it. Not part of it are checkpoints and Redis, which belong
together with the moment at which they were written: a restored lake gets new ones, filled from the lake and from what
the source still holds.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from conf.locations import is_remote
from conf.settings import Settings
from spark_jobs.archive import (
    DEFINITIONS,
    KEY,
    LAKE,
    Manifest,
    Progress,
    StoredFile,
    backup_name,
    backup_uri,
    copy_file,
    files_below,
    fingerprint,
    in_parallel,
    write_manifest,
)
from spark_jobs.lake_snapshot import data_of, log_of, pin_tables, received_through, verify_tables
from spark_jobs.metadata_dump import dump_metadata
from spark_jobs.script import SparkSource, run_script, script_arguments
from tidemark.errors import Fault, UserError
from tidemark.keys import LakeTables
from tidemark.windows import iso

METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What one run did. `uri`: the folder to restore from."""

    uri: str
    manifest: Manifest
    seconds: float


@dataclass(frozen=True, slots=True)
class Item:
    """A file to copy: from a URI, to a path within the backup. `size_bytes`: as expected, for the progress."""

    source: str
    path: str
    size_bytes: int


def run(settings: Settings, destination: str, now: float, progress: Progress = lambda *_: None) -> BackedUp:
    """Back up below a folder. UserError for a folder that cannot be used, Fault when something cannot be read."""
    started = time.monotonic()
    uri = f"{backup_uri(destination)}/{backup_name(now)}"
    lake = settings.lake_uri
    if uri.startswith(f"{lake}/"):
        raise UserError("backup: the destination lies within the lake")
    if not (pinned := pin_tables(LakeTables(lake))):
        raise UserError(f"backup: no table in {lake}: is it the right TIDEMARK_HOME or TIDEMARK_LAKE?")
    _require_new(uri)
    key = fingerprint(settings.resolve_pseudonym_key())  # a key that is made only now belongs to the backup too
    with tempfile.TemporaryDirectory(prefix="tidemark-backup-") as scratch:
        items = [item for table, version in pinned.items() for item in _table_items(lake, table, version)]
        kind = dump_metadata(settings.metadata_uri, Path(scratch, METADATA))
        items += _other_items(settings, Path(scratch), kind is not None)
        stored = _copy_all(items, uri, progress)
    manifest = Manifest(iso(int(now)), pinned, received_through(lake, pinned), kind, key, tuple(stored))
    verify_tables(f"{uri}/{LAKE}", pinned, manifest.lake_sizes)
    write_manifest(uri, manifest)
    return BackedUp(uri, manifest, time.monotonic() - started)


def key_file(settings: Settings) -> Path | None:
    """The key made under the home; None when it comes from the settings and is not the backup's business."""
    file = settings.home / KEY
    return file if settings.pseudonym_key is None and file.exists() else None


def definition_files(settings: Settings) -> Iterator[tuple[Path, str]]:
    """(file, path within the backup) of every contract and metric in force, by number of the folder."""
    for number, folder in enumerate(settings.definition_folders):
        for file in sorted((*folder.glob("contracts/*.yaml"), *folder.glob("metrics/*.yaml"))):
            yield file, f"{DEFINITIONS}/{number}/{file.parent.name}/{file.name}"


def _require_new(uri: str) -> None:
    """Make the folder, so that a destination which cannot be written is told before anything is read."""
    try:
        if any(True for _ in files_below(uri)):
            raise UserError(f"backup: {uri} is there already")
        if not is_remote(uri):
            Path(uri).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"backup: cannot write to {uri}: {error.strerror or error}") from error


def _table_items(lake: str, table: str, version: int) -> list[Item]:
    found = [*data_of(lake, table, version), *log_of(lake, table, version)]
    return [Item(f"{lake}/{path}", f"{LAKE}/{path}", size) for path, size in found]


def _other_items(settings: Settings, scratch: Path, with_metadata: bool) -> list[Item]:
    named = [*definition_files(settings)]
    named += [(scratch / METADATA, METADATA)] if with_metadata else []
    key = key_file(settings)
    named += [(key, KEY)] if key is not None else []
    return [Item(str(file), path, file.stat().st_size) for file, path in named]


def _copy_all(items: Sequence[Item], uri: str, progress: Progress) -> list[StoredFile]:
    stored: list[StoredFile] = []

    def copy(item: Item) -> int:
        try:
            size, sha256 = copy_file(item.source, f"{uri}/{item.path}")
        except FileNotFoundError:
            raise Fault(f"backup: {item.path} went while it was read (maintenance?): run it again") from None
        except OSError as error:
            raise Fault(f"backup: cannot copy {item.path}: {error}") from error
        stored.append(StoredFile(item.path, size, sha256))
        return size

    works: list[Callable[[], int]] = [partial(copy, item) for item in items]
    in_parallel(works, progress, sum(item.size_bytes for item in items))
    return sorted(stored, key=lambda file: file.path)


def main(argv: Sequence[str] | None = None) -> None:
    """`backup.py [--env E] DESTINATION`: back the lake, metadata and definitions up below a folder."""
    arguments = script_arguments(main.__doc__, argv)

    def job(_: SparkSource, settings: Settings) -> bool:
        if len(arguments.names) != 1:
            raise UserError("backup: name one folder or s3:// URI to back up to")
        done = run(settings, arguments.names[0], time.time())
        print(f"{done.uri}: {len(done.manifest.files)} files, {done.manifest.size_bytes} bytes, {done.seconds:.1f} s")
        return True

    sys.exit(run_script("backup", arguments, job))


if __name__ == "__main__":
    main()
