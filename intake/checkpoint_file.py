"""One file of Spark's checkpoint, read without Spark and with its suspicion: a damaged one is never half believed.

On a disk Hadoop keeps a checksum beside each file, `.<name>.crc`: `crc\\0`, the bytes per sum, then a CRC-32 for each
such piece, all big-endian. Object stores check by themselves and have none.
"""

import json
import zlib
from typing import Any

from pyarrow import fs

from tidemark.errors import CheckpointDamaged, Fault

_MAGIC = b"crc\0"
_VERSION = "v1"


def read_lines(files: fs.FileSystem, root: str, path: str) -> list[str]:
    """Lines of a log file below a checkpoint's root, without the version. CheckpointDamaged, or Fault."""
    lines: list[str] = read_checked(files, root, path).decode(errors="replace").split("\n")
    if lines[0] != _VERSION:
        raise CheckpointDamaged(root, path, f"begins with {lines[0][:20]!r} instead of {_VERSION}")
    return lines[1:]


def read_checked(files: fs.FileSystem, root: str, path: str) -> bytes:
    """The content of a file below a checkpoint's root, if its checksum says so. CheckpointDamaged, or Fault."""
    try:
        with files.open_input_stream(f"{root}/{path}") as stream:
            content: bytes = stream.read()
        sums = _stored_sums(files, f"{root}/{path}")
    except FileNotFoundError as error:
        raise CheckpointDamaged(root, path, "is missing") from error
    except OSError as error:
        raise Fault(f"checkpoint {root}: {path} cannot be read: {error}") from error
    if sums is not None and not _matches(content, sums):
        raise CheckpointDamaged(root, path, "does not match its checksum")
    return content


def parse_line(root: str, path: str, lines: list[str], number: int) -> dict[str, Any]:
    """The JSON object in a line of `read_lines`. CheckpointDamaged when it is none."""
    try:
        found = json.loads(lines[number])
    except (ValueError, IndexError) as error:
        raise CheckpointDamaged(root, path, "is cut off or altered") from error
    if not isinstance(found, dict):
        raise CheckpointDamaged(root, path, "is altered")
    return found


def _stored_sums(files: fs.FileSystem, path: str) -> bytes | None:
    """None where there are none: what stands before or after a rename of the pair is believed, as by Hadoop."""
    if not isinstance(files, fs.LocalFileSystem):
        return None
    folder, name = path.rsplit("/", 1)
    try:
        with files.open_input_stream(f"{folder}/.{name}.crc") as stream:
            sums: bytes = stream.read()
    except FileNotFoundError:
        return None
    return sums if sums.startswith(_MAGIC) and len(sums) >= 8 else None


def _matches(content: bytes, sums: bytes) -> bool:
    step = int.from_bytes(sums[4:8], "big") or 1
    pieces = (content[at : at + step] for at in range(0, len(content), step))
    return b"".join(zlib.crc32(piece).to_bytes(4, "big") for piece in pieces) == sums[8:]
