"""A built file is there as a whole, beside no outdated one; a build that fails leaves all as it was."""

from pathlib import Path

import pytest

from runtime.built_file import building


def test_the_file_takes_the_place_of_its_outdated_versions(tmp_path: Path) -> None:
    (tmp_path / "store-1.jar").write_text("old")
    (tmp_path / "other.jar").write_text("other")
    with building(tmp_path / "store-2.jar", "store-*.jar") as work:
        (work / "store-2.jar").write_text("new")
        assert not (tmp_path / "store-2.jar").exists()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"store-2.jar": "new", "other.jar": "other"}


def test_a_build_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "store-1.jar").write_text("old")

    def build() -> None:
        with building(tmp_path / "store-2.jar", "store-*.jar") as work:
            (work / "store-2.jar").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        build()
    assert [file.name for file in tmp_path.iterdir()] == ["store-1.jar"]
