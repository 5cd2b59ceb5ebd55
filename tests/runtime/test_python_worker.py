"""Archives on the path of a worker are read once, and what is in them can be imported all the same."""

import importlib
import sys
import zipfile
import zipimport
from pathlib import Path

import pytest

from runtime.python_worker import keep_archives


def test_an_archive_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "some.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.writestr("tidemark_first.py", "NAME = 'first'")
        written.writestr("tidemark_second.py", "NAME = 'second'")
    monkeypatch.syspath_prepend(str(archive))
    assert importlib.import_module("tidemark_first").NAME == "first"
    keep_archives()

    def refuse(_archive: str) -> dict[str, object]:
        raise AssertionError("the archive is read again")

    monkeypatch.setattr(zipimport, "_read_directory", refuse)
    importlib.invalidate_caches()
    assert importlib.import_module("tidemark_second").NAME == "second"
    for name in ("tidemark_first", "tidemark_second"):
        sys.modules.pop(name)
    sys.path_importer_cache.pop(str(archive))
