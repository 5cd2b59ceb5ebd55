"""The note of a checkpoint: whole, durable, and not taken for another's when it changes hands while a start hangs."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from streaming.checkpoint_note import CheckpointNote, NoteFile
from tidemark.errors import StaleWriter


def test_what_another_noted_meanwhile_is_read_again(tmp_path: Path) -> None:
    notes = NoteFile(str(tmp_path))
    mine = notes.read_or_create("files")
    theirs = notes.update(mine, epoch=2, late=(60,))
    assert notes.read_again(mine) == theirs


def test_a_checkpoint_that_was_begun_anew_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    notes = NoteFile(str(tmp_path))
    mine = notes.read_or_create("files")
    (tmp_path / "tidemark.json").unlink()
    with pytest.raises(StaleWriter, match="begun anew"):
        notes.read_again(mine)
    notes.read_or_create("files")
    with pytest.raises(StaleWriter, match="begun anew"):
        notes.read_again(mine)


def test_a_note_from_before_logs_had_an_id_is_still_read(tmp_path: Path) -> None:
    """As it was written then, digest included."""
    fields = {
        "batch": -1, "delay_s": 660, "epoch": 3, "families": {"totals@1": None}, "held": {}, "held_until": "",
        "identity": "abc", "late": [60], "records": {}, "records_before": {}, "since": None, "source": "kafka",
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]
    (tmp_path / "tidemark.json").write_text(json.dumps({**fields, "digest": digest}))
    notes = NoteFile(str(tmp_path))
    note = notes.read()
    assert note == CheckpointNote("abc", "kafka", 3, 660, {"totals@1": None}, (60,))
    assert notes.update(note, log_id="topic id") == notes.read()


def test_a_note_is_durable_when_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename is kept by its folder: after a power cut the old note would be back, and with it an epoch used twice."""
    synced: list[tuple[int, bool]] = []

    def fsync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, (tmp_path / "tidemark.json").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    NoteFile(str(tmp_path)).read_or_create("files")
    assert synced == [((tmp_path / "tidemark.json").stat().st_ino, False), (tmp_path.stat().st_ino, True)]
