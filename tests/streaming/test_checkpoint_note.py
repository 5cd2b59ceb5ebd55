"""The note of a checkpoint that changes hands while a start hangs."""

from pathlib import Path

import pytest

from streaming.checkpoint_note import NoteFile
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
