"""A damaged file of a checkpoint is named before it is believed."""

import json
import zlib
from pathlib import Path

import pytest

from streaming.checkpoint_check import check_files, find_damage
from streaming.checkpoint_log import CheckpointLog
from streaming.checkpoint_note import NoteFile
from tidemark.errors import CheckpointDamaged

OFFSETS = b'v1\n{"batchWatermarkMs":0,"batchTimestampMs":1,"conf":{}}\n{"logOffset":0}'


def write_with_sum(file: Path, content: bytes, step: int = 512) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    pieces = (content[at : at + step] for at in range(0, len(content), step))
    sums = b"".join(zlib.crc32(piece).to_bytes(4, "big") for piece in pieces)
    file.with_name(f".{file.name}.crc").write_bytes(b"crc\0" + step.to_bytes(4, "big") + sums)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """One committed batch of one segment, with state of one operator."""
    root = tmp_path / "access" / "exact"
    write_with_sum(root / "metadata", b'{"id":"x"}')
    write_with_sum(root / "offsets" / "0", OFFSETS, step=16)
    write_with_sum(root / "commits" / "0", b'v1\n{"nextBatchWatermarkMs":0}')
    write_with_sum(root / "sources" / "0" / "0", b'v1\n{"path":"file:///s/1-a-1.parquet","timestamp":1,"batchId":0}')
    write_with_sum(root / "state" / "0" / "_metadata" / "metadata", b"v1\n{}")
    write_with_sum(root / "state" / "0" / "1" / "_metadata" / "schema", b"schema")
    return root


def test_a_sound_checkpoint_passes(checkpoint: Path) -> None:
    check_files(str(checkpoint))
    assert CheckpointLog(str(checkpoint)).consumed_position() == {"segments": ["1-a-1.parquet"]}
    check_files(str(checkpoint / "nowhere"))


@pytest.mark.parametrize(
    "path",
    [
        "metadata",
        "offsets/0",
        "commits/0",
        "sources/0/0",
        "state/0/_metadata/metadata",
        "state/0/1/_metadata/schema",
    ],
)
@pytest.mark.parametrize("cut", [0, -1, None])
def test_a_cut_or_altered_file_is_named_with_the_way_out(checkpoint: Path, path: str, cut: int | None) -> None:
    content = bytearray((checkpoint / path).read_bytes())
    content[-2] ^= 4
    (checkpoint / path).write_bytes(content if cut is None else content[:cut])
    with pytest.raises(CheckpointDamaged, match=f"{path} does not match.*reset-speed .*access --lane exact") as caught:
        check_files(str(checkpoint))
    assert caught.value.file == path


def test_metadata_that_is_gone_is_missed(checkpoint: Path) -> None:
    (checkpoint / "metadata").unlink()
    with pytest.raises(CheckpointDamaged, match="metadata is missing"):
        check_files(str(checkpoint))


@pytest.mark.parametrize("path", ["offsets/0", "sources/0/0"])
def test_a_log_file_that_is_gone_is_missed(checkpoint: Path, path: str) -> None:
    (checkpoint / path).unlink()
    with pytest.raises(CheckpointDamaged, match=f"{path} is missing"):
        CheckpointLog(str(checkpoint)).consumed_position()


@pytest.mark.parametrize("content", [b"", b"v1\n", b"v1\n{}\n", b'v1\n{"batchWaterm', b"v1\n{}\n[]"])
def test_without_a_checksum_a_cut_log_is_still_noticed(checkpoint: Path, content: bytes) -> None:
    (checkpoint / "offsets" / ".0.crc").unlink()
    (checkpoint / "offsets" / "0").write_bytes(content)
    with pytest.raises(CheckpointDamaged, match="offsets/0"):
        CheckpointLog(str(checkpoint)).consumed_position()


def test_a_digit_of_the_note_does_not_pass_for_another(tmp_path: Path) -> None:
    notes = NoteFile(str(tmp_path / "access" / "exact"))
    note = notes.update(notes.read_or_create("files"), epoch=17)
    assert notes.read() == note
    file = tmp_path / "access" / "exact" / "tidemark.json"
    file.write_text(file.read_text().replace('"epoch": 17', '"epoch": 12'))
    with pytest.raises(CheckpointDamaged, match=r"tidemark\.json is cut off or altered"):
        notes.read()


def test_a_note_from_before_there_were_digests_is_read(tmp_path: Path) -> None:
    notes = NoteFile(str(tmp_path))
    notes.read_or_create("files")
    fields = json.loads((tmp_path / "tidemark.json").read_text())
    for newer in ("digest", "since", "held", "held_until"):
        del fields[newer]
    (tmp_path / "tidemark.json").write_text(json.dumps(fields))
    assert notes.read() is not None


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("ChecksumException: Checksum error: file:/h/access/exact/state/0/1/4.zip at 0", "state/0/1/4.zip"),
        ("java.io.FileNotFoundException: File file:/h/access/exact/state/1/0/9.zip does not exist", "state/1/0/9.zip"),
        ("IllegalStateException: Incomplete log file /h/access/exact/commits/3", "commits/3"),
        ("java.io.IOException: No space left on device: /h/access/exact/offsets/.4.tmp", None),
        ("Checksum error: file:/h/orders/exact/commits/1", None),
    ],
)
def test_the_file_is_read_out_of_what_spark_says(text: str, file: str | None) -> None:
    damage = find_damage("/h/access/exact", RuntimeError(text))
    assert (damage and damage.file) == file


@pytest.mark.parametrize(("store", "file"), [("default", "state/1/0/1.zip"), ("left", "state/1/0/left/1.zip")])
def test_a_snapshot_that_was_unpacked_in_vain_is_named(checkpoint: Path, store: str, file: str) -> None:
    """Of an empty one, Spark says only which file its own scratch folder lacks."""
    scratch = f"/tmp/spark-1/StateStoreId(opId=1,partId=0,name={store})-ef8/workingDir-c9/metadata"
    text = f"[CANNOT_LOAD_STATE_STORE.UNCATEGORIZED]\nCaused by: java.nio.file.NoSuchFileException: {scratch}"
    damage = find_damage(str(checkpoint), RuntimeError(text))
    assert damage is not None
    assert damage.file == file
    assert find_damage(f"{checkpoint}-that-committed-nothing", RuntimeError(text)) is None
