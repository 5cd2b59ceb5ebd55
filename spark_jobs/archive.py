"""A backup as it is stored: one folder that stands alone, ended by its manifest.

    <destination>/20261124T221500Z/manifest.json     written last: a folder without one is no backup
                                   lake/<table>/…    data files and Delta's log, under the names that they have
                                   definitions/<n>/…  metadata.db | metadata.dump   pseudonym.key

Folders are absolute paths or `s3://`, `s3a://` URIs, read and written through pyarrow's file systems.
"""

import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pyarrow import fs

from conf.locations import is_remote, storage_uri
from spark_jobs.delta_log import filesystem_of
from tidemark.errors import Fault, UserError

MANIFEST = "manifest.json"
FORMAT = 1
LAKE, DEFINITIONS, KEY = "lake", "definitions", "pseudonym.key"
_COPIERS = 8
_CHUNK_BYTES = 4 * 1024 * 1024
_SAFE = re.compile(r"(?!/)(?!.*(^|/)\.\.(/|$)).+")
Progress = Callable[[int, int], None]
"""Told the bytes done and the bytes in all."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a backup; `path` is relative to the backup's folder."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. `tables`: table below the lake → Delta version, in the order in which they are restored.

    `received_through`: contract → when the newest record of its bronze was received (ISO 8601), for the question what
    the source must still hold. `metadata`: kind of the database, None when there was none. `key_fingerprint`: tells
    whether a pseudonym key is the one that masked the lake's values, without giving it away.
    """

    created_at: str
    tables: dict[str, int]
    received_through: dict[str, str]
    metadata: str | None
    key_fingerprint: str | None
    files: tuple[StoredFile, ...]
    format: int = FORMAT

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def lake_sizes(self) -> dict[str, int]:
        """Path below the lake → bytes."""
        return {file.path.removeprefix(f"{LAKE}/"): file.size_bytes for file in self.below(LAKE)}

    def below(self, folder: str) -> list[StoredFile]:
        return [file for file in self.files if file.path.startswith(f"{folder}/")]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: bytes, where: str) -> Self:
        """UserError when this is no manifest that can be used."""
        try:
            fields: dict[str, Any] = json.loads(text)
            files = tuple(StoredFile(**file) for file in fields.pop("files"))
            manifest = cls(files=files, **fields)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"backup: {where} is no manifest: {error}") from None
        if manifest.format != FORMAT:
            raise UserError(f"backup: {where} is of format {manifest.format}; this version reads {FORMAT}")
        odd = next((file.path for file in files if not _SAFE.fullmatch(file.path)), None)
        if odd is not None:
            raise UserError(f"backup: {where} names a file outside the backup: {odd!r}")
        return manifest


def backup_uri(location: str) -> str:
    """An absolute path or object store's URI; UserError for anything else."""
    try:
        return storage_uri(location)
    except ValueError as error:
        raise UserError(f"backup: {error}") from None


def backup_name(now: float) -> str:
    """Name of a backup's folder, to the millisecond: one repeated at once after a kill must find its own free."""
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
    return moment.replace("-", "").replace(":", "").replace("+0000", "Z")


def find_backup(location: str) -> tuple[str, Manifest]:
    """The backup in a folder, or the newest whole one below it. UserError when there is none."""
    uri = backup_uri(location)
    files, root = filesystem_of(uri)
    try:
        found = files.get_file_info(fs.FileSelector(root, allow_not_found=True))
        names = sorted((info.base_name for info in found if info.type == fs.FileType.Directory), reverse=True)
        for folder in (uri, *(f"{uri}/{name}" for name in names)):
            path = f"{filesystem_of(folder)[1]}/{MANIFEST}"
            if files.get_file_info(path).type == fs.FileType.File:
                with files.open_input_stream(path) as stream:
                    return folder, Manifest.from_json(stream.read(), f"{folder}/{MANIFEST}")
    except OSError as error:
        raise Fault(f"backup: cannot read {uri}: {error}") from error
    raise UserError(f"backup: no {MANIFEST} in {uri} or in a folder of it: nothing there was backed up to its end")


def fingerprint(key: str) -> str:
    """Tells two pseudonym keys apart without giving one away."""
    return hmac.new(key.encode(), b"tidemark backup", hashlib.sha256).hexdigest()[:16]


def write_manifest(uri: str, manifest: Manifest) -> None:
    """The last act of a backup. On a local disk everything before it is durable first."""
    files, root = filesystem_of(uri)
    path = f"{root}/{MANIFEST}"
    if is_remote(uri):
        with files.open_output_stream(path) as stream:
            stream.write(manifest.to_json().encode())
        return
    os.sync()
    draft = Path(f"{path}.draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(manifest.to_json())
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    os.sync()


def copy_file(source: str, target: str) -> tuple[int, str]:
    """Copy between two URIs; size and SHA-256 of what was read. The target is there whole or not at all."""
    (from_files, from_path), (to_files, to_path) = filesystem_of(source), filesystem_of(target)
    digest, size = hashlib.sha256(), 0
    draft = to_path if is_remote(target) else str(_draft_of(Path(to_path)))
    with from_files.open_input_stream(from_path) as reader, to_files.open_output_stream(draft) as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            writer.write(chunk)
            size += len(chunk)
    if draft != to_path:
        os.replace(draft, to_path)
    return size, digest.hexdigest()


def _draft_of(target: Path) -> Path:
    """Where a local file is written until it is whole, the key for its owner only; an object store shows no halves."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.part")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600 if target.name == KEY else 0o666)
    return draft


def check_file(uri: str, file: StoredFile) -> None:
    """Fault unless the backup's file is there with the bytes that the manifest tells."""
    files, path = filesystem_of(f"{uri}/{file.path}")
    digest, size = hashlib.sha256(), 0
    try:
        with files.open_input_stream(path) as reader:
            while chunk := reader.read(_CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise Fault(f"backup: {file.path} cannot be read: {error}") from error
    require_same(file, size, digest.hexdigest())


def require_same(file: StoredFile, size_bytes: int, sha256: str) -> None:
    if (size_bytes, sha256) != (file.size_bytes, file.sha256):
        raise Fault(f"backup: {file.path} is damaged: {size_bytes} bytes of another content than was backed up")


def in_parallel(works: Sequence[Callable[[], int]], progress: Progress, total: int, done: int = 0) -> int:
    """Do all, a few at a time; each returns its bytes. The first failure ends it. Bytes done since `done`."""
    with ThreadPoolExecutor(_COPIERS, thread_name_prefix="copy") as pool:
        try:
            for size in pool.map(lambda work: work(), works):
                done += size
                progress(done, total)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return done


def files_below(uri: str) -> Iterable[fs.FileInfo]:
    """Every file below a folder, however deep; none when it is absent."""
    files, root = filesystem_of(uri)
    for info in files.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True)):
        if info.type == fs.FileType.File:
            yield info
