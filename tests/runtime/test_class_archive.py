"""The class archive: which file a start reads, and that one which does not fit is passed over in silence."""

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime import class_archive
from runtime.jars import java_binary
from tidemark.errors import Fault

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def java(folder: Path, content: str = "#!/bin/sh\nexit 1\n") -> Path:
    """A JAVA_HOME of its own, with a Java that fails."""
    binary = folder / "bin" / "java"
    binary.parent.mkdir(parents=True)
    binary.write_text(content)
    binary.chmod(0o755)
    return folder


def test_each_java_has_its_own_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {class_archive.archive_file()}
    for name in ("one", "two"):
        monkeypatch.setenv("JAVA_HOME", str(java(tmp_path / name)))
        files.add(class_archive.archive_file())
    assert len(files) == 3


def test_without_java_or_without_archive_a_start_names_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java(tmp_path / "new")))
    assert class_archive.archive_options() == ""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "absent"))
    assert class_archive.archive_file() is None
    assert class_archive.archive_options() == ""


def test_an_archive_that_does_not_fit_is_passed_over_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "damaged.jsa"
    damaged.write_bytes(os.urandom(10_000))
    of_another_class_path = class_archive.archive_file()
    for file in (damaged, of_another_class_path):
        monkeypatch.setattr(class_archive, "archive_file", lambda file=file: file)
        options = [option.strip('"') for option in class_archive.archive_options().split(" ") if option]
        ran = subprocess.run([java_binary(), *options, "-version"], capture_output=True, text=True, check=True)
        assert ran.stdout == ""
        assert "warning" not in ran.stderr


def test_an_archive_that_was_cut_off_is_not_put_in_place(tmp_path: Path) -> None:
    whole = class_archive.archive_file()
    if whole is None or not whole.is_file():
        pytest.skip("no archive here")
    cut = tmp_path / "cut.jsa"
    with whole.open("rb") as content:
        cut.write_bytes(content.read(100_000))
    with pytest.raises(Fault, match="cannot be read again"):
        class_archive._try_out(cut)


def test_a_java_that_writes_none_is_told_of_and_set_up_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(java(tmp_path / "new")))
    file = class_archive.archive_file()
    assert class_archive.main([]) == 0
    assert capfd.readouterr().err.startswith("no class archive, sessions start slower: ")
    assert file is not None
    assert not file.exists()


@pytest.mark.spark
def test_the_session_reads_the_archive_that_set_up_wrote(spark: "SparkSession") -> None:
    file = class_archive.archive_file()
    if file is None or not file.is_file() or not Path("/proc/self/maps").is_file():
        pytest.skip("no archive here, or no /proc to see its use in")
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    pid = jvm.java.lang.ProcessHandle.current().pid()
    assert str(file) in Path(f"/proc/{pid}/maps").read_text()
