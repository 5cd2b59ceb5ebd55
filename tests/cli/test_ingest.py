"""`tidemark ingest`: what is counted is durable, and what cannot be read is named in one line."""

import gzip
import io
import json
import os
from pathlib import Path

import pytest

from cli.main import main
from conf.settings import load_settings
from intake.segments import FileSource

pytestmark = pytest.mark.usefixtures("home")


def stored() -> list[bytes]:
    return [record.value for record in FileSource(load_settings().home / "source" / "access").iter_records()]


def test_lines_of_all_files_are_stored_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, packed = tmp_path / "a.ndjson", tmp_path / "b.ndjson.gz"
    plain.write_bytes(b'\xef\xbb\xbf{"n":1}\r\n\n   \n{"n":2}')
    packed.write_bytes(gzip.compress(b"not json\n" + b"x" * 1_500_000 + b"\n"))
    assert main(["ingest", "access", str(plain), str(packed), "--json"]) == 0
    assert stored() == [b'{"n":1}', b'{"n":2}', b"not json", b"x" * 1_500_000]
    counts = json.loads(capsys.readouterr().out)
    assert counts == {"contract": "access", "records": 4, "bytes": 1_500_022, "segments": 1}


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"{}\n{}\n")
    os.close(writer)
    with io.TextIOWrapper(io.BufferedReader(io.FileIO(reader))) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(["ingest", "access", "-"]) == 0
    assert stored() == [b"{}", b"{}"]
    assert capsys.readouterr().out == "access: 2 records, 4 bytes, 1 segments; durable\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["acces", "x"], "unknown contract 'acces'; known: access, clickstream, orders, telemetry"),
        (["access", "nowhere.ndjson"], "nowhere.ndjson: no such file"),
        (["access", "."], ".: is a folder"),
    ],
)
def test_wrong_use_is_one_line_and_stores_nothing(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", *arguments]) == 2
    assert capsys.readouterr().err == f"tidemark: {said}\n"
    assert stored() == []


def test_a_corrupt_file_says_how_many_records_before_it_are_durable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, corrupt = tmp_path / "good.ndjson", tmp_path / "corrupt.gz"
    good.write_bytes(b"{}\n" * 3)
    corrupt.write_bytes(gzip.compress(os.urandom(100_000).hex().encode())[:5000])
    assert main(["ingest", "access", str(good), str(corrupt)]) == 2
    said = capsys.readouterr().err
    assert "corrupt.gz: corrupt gzip" in said
    assert said.endswith("; the 3 records before it are durable\n")
    assert len(stored()) == 3


def test_an_endless_line_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("intake.record_files.MAX_LINE_BYTES", 2 << 20)
    file = tmp_path / "image.bin"
    file.write_bytes(b"{}\n" + b"0" * (4 << 20))
    assert main(["ingest", "access", str(file)]) == 2
    assert "a line is longer than 2 MiB" in capsys.readouterr().err
    assert stored() == [b"{}"]
