"""Restore: a backup into an empty lake, checked byte by byte and then by Delta's own list of files.

Checkpoints and Redis must be empty too: a checkpoint says "this is in the lake", which a lake restored to an earlier
moment does not keep, and a pointer in Redis may name a version that is not there any more. The streams start anew and
read what the source still holds; what the lake has already is recognised by its event id.

Killed at any point it leaves tables that are whole, absent, or cannot be opened, never a part of one: data files come
first, then the logs of bronze, silver and gold, the publications last, and of each log its beginning last.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import redis

from conf.locations import is_remote
from conf.settings import Settings
from runtime.stream_lock import without_streams
from spark_jobs import publish
from spark_jobs.archive import (
    DEFINITIONS,
    KEY,
    LAKE,
    Manifest,
    Progress,
    StoredFile,
    check_file,
    copy_file,
    find_backup,
    fingerprint,
    in_parallel,
    require_same,
)
from spark_jobs.backup import METADATA, definition_files
from spark_jobs.batch_lock import local_lock, remote_lease
from spark_jobs.lake_snapshot import LOG, anchors_of, verify_tables
from spark_jobs.metadata_dump import restore_metadata
from spark_jobs.restore_target import RestoreTarget
from tidemark.errors import Fault, UserError
from tidemark.keys import alive_pattern


@dataclass(frozen=True, slots=True)
class Restored:
    """What one run did. `definitions`: folder with those of the backup, None when they are in force already."""

    uri: str
    manifest: Manifest
    seconds: float
    definitions: str | None
    replaced: tuple[str, ...]


def check(location: str, progress: Progress = lambda *_: None) -> tuple[str, Manifest]:
    """Read a whole backup and compare every byte with its manifest. Fault names the first file that is damaged."""
    uri, manifest = find_backup(location)

    def work(file: StoredFile) -> int:
        check_file(uri, file)
        return file.size_bytes

    in_parallel([partial(work, file) for file in manifest.files], progress, manifest.size_bytes)
    return uri, manifest


def run(settings: Settings, location: str, force: bool, progress: Progress = lambda *_: None) -> Restored:
    """UserError when the target is not empty and `force` is not given, Fault for a damaged backup.

    With `force` the whole backup is checked before anything is deleted.
    """
    started = time.monotonic()
    uri, manifest = check(location) if force else find_backup(location)
    _require_key(settings, manifest)
    with _alone(settings) as client:
        target = RestoreTarget(settings, client, manifest.key_fingerprint)
        occupied = tuple(target.occupied())
        if occupied and not force:
            raise UserError(f"restore: the target is not empty: {'; '.join(occupied)}; --force replaces it")
        if occupied:
            target.clear()
        _restore_lake(settings, uri, manifest, progress, partial(_refuse_newcomer, client, target))
        _restore_rest(settings, uri, manifest)
        definitions = _restore_definitions(settings, uri, manifest)
        verify_tables(settings.lake_uri, manifest.tables, manifest.lake_sizes)
    return Restored(uri, manifest, time.monotonic() - started, definitions, occupied)


@contextmanager
def _alone(settings: Settings) -> Iterator["redis.Redis"]:
    """No batch and no stream beside the restore; Redis answers, so that it can be emptied with the rest."""
    lake = settings.lake_uri
    with without_streams(settings), publish.connect(settings) as client:
        if _is_alive(client):
            raise Fault("restore: a stream runs on this Redis, or was killed a moment ago: stop it first")
        with remote_lease(client, lake) if is_remote(lake) else local_lock(Path(lake)):
            yield client


def _is_alive(client: "redis.Redis") -> bool:
    return next(client.scan_iter(alive_pattern(), count=1000), None) is not None


def _refuse_newcomer(client: "redis.Redis", target: RestoreTarget) -> None:
    """No lock reaches another machine. A stream that begins there finds no table and makes one in the same place."""
    if _is_alive(client) or target.has_checkpoints():
        raise Fault("restore: a stream began on another machine meanwhile: stop it, then restore again with --force")


def _require_key(settings: Settings, manifest: Manifest) -> None:
    """With another key than the one that masked the lake's values, every person would get a second pseudonym."""
    configured, held = settings.pseudonym_key, any(file.path == KEY for file in manifest.files)
    if configured is not None and fingerprint(configured.get_secret_value()) != manifest.key_fingerprint:
        raise UserError("TIDEMARK_PSEUDONYM_KEY: is not the key that masked the values of this backup")
    if configured is None and not held:
        raise UserError("TIDEMARK_PSEUDONYM_KEY: must be set: the backup was made with a key from the settings")


def _restore_lake(
    settings: Settings, uri: str, manifest: Manifest, progress: Progress, refuse_newcomer: Callable[[], None]
) -> None:
    done = 0
    for group in _groups(manifest):
        refuse_newcomer()
        works = [partial(_fetch, uri, file, f"{settings.lake_uri}{file.path.removeprefix(LAKE)}") for file in group]
        done = in_parallel(works, progress, manifest.size_bytes, done)


def _groups(manifest: Manifest) -> Iterator[list[StoredFile]]:
    """Data files of all tables; then, table by table in the manifest's order, the log and at last where it begins."""
    files = manifest.below(LAKE)
    logs = {table: [f for f in files if f.path.startswith(f"{LAKE}/{table}/{LOG}/")] for table in manifest.tables}
    in_logs = {file.path for log in logs.values() for file in log}
    yield [file for file in files if file.path not in in_logs]
    for log in logs.values():
        anchors = anchors_of([file.path for file in log])
        yield [file for file in log if file.path not in anchors]
        yield [file for file in log if file.path in anchors]


def _fetch(uri: str, file: StoredFile, target: str) -> int:
    try:
        require_same(file, *copy_file(f"{uri}/{file.path}", target))
    except OSError as error:
        raise Fault(f"restore: cannot copy {file.path}: {error}") from error
    return file.size_bytes


def _restore_rest(settings: Settings, uri: str, manifest: Manifest) -> None:
    """The metadata, and the key when it is not configured."""
    named = {file.path: file for file in manifest.files}
    if manifest.metadata is not None:
        with TemporaryDirectory(prefix="tidemark-restore-") as scratch:
            _fetch(uri, named[METADATA], f"{scratch}/{METADATA}")
            restore_metadata(settings.metadata_uri, Path(scratch, METADATA), manifest.metadata)
    if KEY in named and settings.pseudonym_key is None:
        _fetch(uri, named[KEY], str(settings.home / KEY))


def _restore_definitions(settings: Settings, uri: str, manifest: Manifest) -> str | None:
    """Beside those in force, where they differ: which of the two is right is for a person to say."""
    saved = {file.path: file.sha256 for file in manifest.below(DEFINITIONS)}
    if saved == {path: hashlib.sha256(file.read_bytes()).hexdigest() for file, path in definition_files(settings)}:
        return None
    folder = settings.home / f"definitions-{uri.rsplit('/', 1)[1]}"
    for file in manifest.below(DEFINITIONS):
        _fetch(uri, file, f"{folder}/{file.path.removeprefix(f'{DEFINITIONS}/')}")
    numbers = sorted({int(path.split("/")[1]) for path in saved})
    return os.pathsep.join(str(folder / str(number)) for number in numbers)
