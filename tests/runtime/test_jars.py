"""The Java archives: exact, checked, and a no-op without network once they are there."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from runtime import jars
from runtime.jars import Artifact, locked, main, missing, resolve, spark_jars
from tidemark.errors import Fault

SMALL = Artifact("org.example", "small", "1.0", hashlib.sha256(b"jar").hexdigest())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(jars, "jars_folder", lambda kind: tmp_path / kind)
    monkeypatch.setattr(jars, "locked", lambda kind: (SMALL,))
    return tmp_path / "spark"


def test_every_locked_archive_is_named_with_its_checksum() -> None:
    for kind in jars.KINDS:
        assert locked(kind)
        assert all(len(artifact.sha256) == 64 for artifact in locked(kind))


def test_when_all_is_there_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it must not run anything"))
    assert missing("spark") == ()
    assert resolve("spark") == 0
    assert main([]) == 0


def test_the_file_system_is_on_the_class_path_and_the_others_are_jars() -> None:
    loaded, on_classpath = spark_jars()
    assert [file.name for file in on_classpath] == ["com.globalmentor_hadoop-bare-naked-local-fs-0.1.0.jar"]
    assert len(loaded) + len(on_classpath) == len(locked("spark"))


def test_an_archive_with_another_checksum_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_retrieve", lambda wanted, work: (work / SMALL.file).write_bytes(b"other"))
    with pytest.raises(Fault, match=r"is not the file that small 1\.0 was locked with"):
        resolve("spark")
    assert not (folder / SMALL.file).exists()


def test_an_archive_lands_under_its_own_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_retrieve", lambda wanted, work: (work / SMALL.file).write_bytes(b"jar"))
    assert resolve("spark") == 1
    assert [file.name for file in folder.iterdir()] == ["org.example_small-1.0.jar"]


def test_without_an_archive_a_session_says_how_to_get_it(folder: Path) -> None:
    with pytest.raises(Fault, match=r"org.example_small-1.0.jar is missing in .*: run python -m runtime.jars"):
        spark_jars()


def test_what_cannot_be_resolved_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spark"]) == 1
    line = capsys.readouterr().err.strip()
    assert line.startswith("cannot resolve the Java archives: ")
    assert "\n" not in line


def test_without_java_the_line_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(folder))
    assert main(["spark"]) == 1
    assert "install Java 17 or newer" in capsys.readouterr().err


def test_an_unknown_kind_is_wrong_use() -> None:
    assert main(["flink"]) == 2
