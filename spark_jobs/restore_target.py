"""Where a restore writes to: what is there already, and how it is emptied when the user says so."""

from collections.abc import Iterator
from pathlib import Path

import redis
from pyarrow import fs

from conf.settings import Settings
from spark_jobs.archive import KEY, files_below, fingerprint
from spark_jobs.delta_log import filesystem_of
from spark_jobs.metadata_dump import drop_metadata, holds_metadata
from tidemark import keys
from tidemark.errors import Fault

_LOCK = ".lock"
"""Lock files stay: whoever holds one must not find another in its place."""


class RestoreTarget:
    """Lake, checkpoints, Redis, metadata and key of one deployment."""

    def __init__(self, settings: Settings, client: "redis.Redis", key_fingerprint: str | None) -> None:
        self._settings, self._client, self._fingerprint = settings, client, key_fingerprint

    def occupied(self) -> Iterator[str]:
        """What is not empty, in words."""
        settings = self._settings
        for name, uri in (("lake", settings.lake_uri), ("checkpoints", settings.checkpoints_uri)):
            if _first_file(uri) is not None:
                yield f"{name} {uri}"
        if next(self._views(), None) is not None:
            yield "views in Redis"
        if holds_metadata(settings.metadata_uri):
            yield "metadata"
        if self._has_other_key():
            yield f"another pseudonym key {self._key}"

    def has_checkpoints(self) -> bool:
        return _first_file(self._settings.checkpoints_uri) is not None

    def clear(self) -> None:
        """Delete all of it."""
        self._unlink_views()
        _clear_folder(self._settings.checkpoints_uri)
        _clear_folder(self._settings.lake_uri)
        drop_metadata(self._settings.metadata_uri)
        if self._has_other_key():
            self._key.unlink()

    @property
    def _key(self) -> Path:
        return self._settings.home / KEY

    def _views(self) -> Iterator[bytes]:
        """Every key of ours but the lease that this very restore holds."""
        mine = keys.batch_lease(self._settings.lake_uri).encode()
        found: Iterator[bytes] = self._client.scan_iter(keys.every_pattern(), count=1000)
        return (key for key in found if key != mine)

    def _has_other_key(self) -> bool:
        made_here = self._settings.pseudonym_key is None and self._key.exists()
        return made_here and fingerprint(self._settings.resolve_pseudonym_key()) != self._fingerprint

    def _unlink_views(self) -> None:
        batch: list[bytes] = []
        for key in self._views():
            batch.append(key)
            if len(batch) == 1000:
                self._client.unlink(*batch)
                batch.clear()
        if batch:
            self._client.unlink(*batch)


def _first_file(uri: str) -> str | None:
    try:
        return next((info.path for info in files_below(uri) if not info.base_name.endswith(_LOCK)), None)
    except OSError as error:
        raise Fault(f"restore: cannot list {uri}: {error}") from error


def _clear_folder(uri: str) -> None:
    files, root = filesystem_of(uri)
    try:
        for info in files.get_file_info(fs.FileSelector(root, allow_not_found=True)):
            if info.type == fs.FileType.Directory:
                files.delete_dir(info.path)
            elif not info.base_name.endswith(_LOCK):
                files.delete_file(info.path)
    except OSError as error:
        raise Fault(f"restore: cannot empty {uri}: {error}") from error
