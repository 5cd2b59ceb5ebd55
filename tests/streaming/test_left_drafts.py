"""What a kill in the middle of writing a log file leaves behind does not stop the next start."""

from pathlib import Path

import pytest

from streaming.checkpoint_log import CheckpointLog
from tests.streaming.stage import Stage, access
from tidemark import keys

DRAFT = ".0.0a8a9d1f-445b-41bf-96ba-cb389eae630e.tmp"


@pytest.mark.spark
@pytest.mark.parametrize("folder", ["offsets", "commits"])
def test_a_stream_starts_on_a_checkpoint_whose_first_log_file_was_never_finished(stage: Stage, folder: str) -> None:
    drafts = Path(keys.checkpoint(stage.settings.checkpoints_uri, "access", "exact")) / folder
    drafts.mkdir(parents=True)
    (drafts / DRAFT).write_text("v1")
    (drafts / f".{DRAFT}.crc").write_bytes(b"crc")
    stage.append(access("a", "00:00:00"))
    stage.once()
    assert sum(stage.accepted().values()) == 1


def test_only_drafts_are_removed(tmp_path: Path) -> None:
    kept = ["0", ".0.crc", "1.compact"]
    (tmp_path / "offsets").mkdir()
    for name in (*kept, DRAFT, f".{DRAFT}.crc"):
        (tmp_path / "offsets" / name).touch()
    CheckpointLog(str(tmp_path)).remove_drafts()
    assert sorted(file.name for file in (tmp_path / "offsets").iterdir()) == sorted(kept)
