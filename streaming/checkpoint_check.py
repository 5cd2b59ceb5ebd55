"""Looks a checkpoint over before Spark does, and reads out of Spark's errors which file it could not trust."""

import re
from collections.abc import Iterator

from pyarrow import fs

from conf.locations import is_remote
from intake.checkpoint_file import read_checked
from runtime.storage_trouble import storage_trouble
from streaming.checkpoint_log import CheckpointLog
from tidemark.errors import CheckpointDamaged

_SIGNS = re.compile(
    r"Checksum|EOFException|FileNotFoundException|NoSuchFileException|ZipException|Incomplete log file|STATE_STORE"
    r"|CHECKPOINT_LOCATION_NOT_EMPTY|Corrupt|Malformed|Json\w*Exception|MappingException|log version"
)
"""What Spark and Hadoop say of a file that is cut, altered or gone. A full or dead disk says other things."""
_STORE = re.compile(r"NoSuchFileException: \S*StateStoreId\(opId=(\d+),partId=(\d+),name=(\w+)\)")
"""A store of the state that was unpacked and then lacked a file."""


def check_files(checkpoint: str) -> None:
    """Check the small files of a checkpoint on a disk against their checksums: CheckpointDamaged names a bad one.

    The state itself is left to Spark, which reads only what it needs of it. An object store checks by itself.
    """
    if is_remote(checkpoint):
        return
    files = fs.LocalFileSystem()
    for path in _small_files(files, checkpoint):
        read_checked(files, checkpoint, path.removeprefix(f"{checkpoint}/"))
    logged = any(info.base_name.isdecimal() for info in _listed(files, f"{checkpoint}/offsets"))
    if logged and files.get_file_info(f"{checkpoint}/metadata").type == fs.FileType.NotFound:
        raise CheckpointDamaged(checkpoint, "metadata", "is missing")


def find_damage(checkpoint: str, error: BaseException) -> CheckpointDamaged | None:
    """The damage that an error of Spark speaks of; None when it speaks of something else."""
    if isinstance(error, CheckpointDamaged):
        return error
    text = f"{error} {getattr(error, '_stackTrace', '')}"
    named = re.search(re.escape(checkpoint.split("://", 1)[-1]) + r"/([\w./-]*\w)", text)
    if storage_trouble(error) or not _SIGNS.search(text):
        return None
    file = named[1] if named else _snapshot(checkpoint, text)
    return CheckpointDamaged(checkpoint, file, "cannot be read") if file else None


def _snapshot(checkpoint: str, text: str) -> str | None:
    """The snapshot that Spark unpacked in vain: of an empty one it names only its own scratch folder."""
    store = _STORE.search(text)
    commit = CheckpointLog(checkpoint).last_commit() if store else None
    if store is None or commit is None:
        return None
    operator, part, name = store.groups()
    folder = f"state/{operator}/{part}" if name == "default" else f"state/{operator}/{part}/{name}"
    return f"{folder}/{commit.batch + 1}.zip"


def _small_files(files: fs.FileSystem, checkpoint: str) -> Iterator[str]:
    operators = _numbered(files, f"{checkpoint}/state")
    stores = [store for operator in operators for store in _numbered(files, operator)]
    folders = [checkpoint, *(f"{checkpoint}/{name}" for name in ("offsets", "commits", "sources/0"))]
    for folder in (*folders, *(f"{each}/_metadata" for each in (*operators, *stores))):
        for info in _listed(files, folder):
            if info.type == fs.FileType.File and not info.base_name.startswith("."):
                yield info.path


def _numbered(files: fs.FileSystem, folder: str) -> list[str]:
    return [info.path for info in _listed(files, folder) if info.base_name.isdecimal()]


def _listed(files: fs.FileSystem, folder: str) -> list[fs.FileInfo]:
    return list(files.get_file_info(fs.FileSelector(folder, allow_not_found=True)))
