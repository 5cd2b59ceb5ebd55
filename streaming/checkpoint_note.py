"""What a streaming query remembers beside its checkpoint: one small JSON document, replaced atomically.

It lives inside the checkpoint's folder, so that it goes when the checkpoint goes: a new checkpoint has a new identity,
and Delta's txnAppId with it, hence data written under an older one never makes new data look written already.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pyarrow import fs

from conf.locations import is_remote
from intake.segment_cleanup import sync_folder
from tidemark.errors import CheckpointDamaged, Fault, SettingsError, StaleWriter

_NAME = "tidemark.json"
_DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class CheckpointNote:
    """`identity`: of this checkpoint. `source`: the kind it reads; `log_id`: which log of it, None when that is not
    known (yet). `epoch`: of the last writer to Redis.

    `delay_s`: the longest watermark delay ever used. `families`: family → event time from which its windows are
    complete. `late`: minutes in which an event was dropped and whose windows may still be open. `records`: cumulative
    counts of the lake writer after batch `batch`; `records_before`: those before it, the base of its replay.

    What it knows of the checkpoints before it: `since`: event time from which this one counts, all before is sealed;
    `held`: bronze table → Delta version that has records of them, the newest received on the day `held_until`.
    """

    identity: str
    source: str
    epoch: int = 0
    delay_s: int = 0
    families: dict[str, int | None] = field(default_factory=dict)
    late: tuple[int, ...] = ()
    batch: int = -1
    records: dict[str, int] = field(default_factory=dict)
    records_before: dict[str, int] = field(default_factory=dict)
    since: int | None = None
    held: dict[str, int] = field(default_factory=dict)
    held_until: str = ""
    log_id: str | None = None


class NoteFile:
    """Reads and replaces the note of one checkpoint, on disk or in an object store."""

    def __init__(self, checkpoint_uri: str) -> None:
        self._uri = checkpoint_uri
        if is_remote(checkpoint_uri):
            self._files, self._folder = fs.FileSystem.from_uri(checkpoint_uri.replace("s3a://", "s3://", 1))
        else:
            self._files, self._folder = fs.LocalFileSystem(), checkpoint_uri

    def read(self) -> CheckpointNote | None:
        """None when the checkpoint has no note."""
        path = f"{self._folder}/{_NAME}"
        try:
            if self._files.get_file_info(path).type == fs.FileType.NotFound:
                return None
            with self._files.open_input_stream(path) as stream:
                return _parsed(stream.read())
        except OSError as error:
            raise Fault(f"checkpoint {self._uri}: its {_NAME} cannot be read: {error}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointDamaged(self._uri, _NAME, "is cut off or altered") from error

    def read_or_create(self, source: str, known_before: Callable[[], dict[str, Any]] = dict) -> CheckpointNote:
        """The note, made and stored for a new checkpoint with fields that `known_before` gives then.

        SettingsError when the checkpoint reads another source.
        """
        note = self.read()
        if note is None:
            note = CheckpointNote(uuid.uuid4().hex, source, **known_before())
            self.write(note)
        if note.source != source:
            raise SettingsError(
                f"TIDEMARK_SOURCE: {source!r}, but checkpoint {self._uri} reads {note.source!r}; use other checkpoints"
            )
        return note

    def read_again(self, note: CheckpointNote) -> CheckpointNote:
        """The note as it is by now. StaleWriter when it went, or is of a newer checkpoint."""
        stored = self.read()
        if stored is None or stored.identity != note.identity:
            raise StaleWriter(f"checkpoint {self._uri}: it was begun anew")
        return stored

    def write(self, note: CheckpointNote) -> None:
        """Replace the note; durable when it returns."""
        fields = asdict(note)
        content = json.dumps({**fields, _DIGEST: _digest(fields)}, sort_keys=True).encode()
        try:
            if isinstance(self._files, fs.LocalFileSystem):
                _replace_local(Path(self._folder), content)
            else:
                with self._files.open_output_stream(f"{self._folder}/{_NAME}") as stream:
                    stream.write(content)
        except OSError as error:
            raise Fault(f"checkpoint {self._uri}: its {_NAME} cannot be written: {error}") from error

    def update(self, note: CheckpointNote, **changes: Any) -> CheckpointNote:
        """The note with `changes`, stored when they are any.

        StaleWriter when the stored one is of a newer start: who hung while it was replaced remembers an older note.
        """
        changed = replace(note, **changes)
        if changed != note:
            stored = self.read()
            if stored is not None and stored.epoch > changed.epoch:
                raise StaleWriter(f"checkpoint {self._uri}: a newer stream has taken over, epoch {stored.epoch}")
            self.write(changed)
        return changed


def _parsed(content: bytes) -> CheckpointNote:
    """ValueError, TypeError or KeyError for a text that no writer of ours made."""
    fields: dict[str, Any] = json.loads(content)
    digest = fields.pop(_DIGEST, None)
    if digest is not None and digest != _digest(fields):
        raise ValueError("the digest does not match")
    return CheckpointNote(**{**fields, "late": tuple(fields["late"])})


def _digest(fields: dict[str, Any]) -> str:
    """Of a text whose numbers steer what is counted: an altered digit must not pass for another one."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def _replace_local(folder: Path, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{_NAME}.draft"
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, folder / _NAME)
    sync_folder(folder)
