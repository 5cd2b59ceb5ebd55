"""Two processes that append to one local table take turns."""

import threading
from pathlib import Path

import pytest

from runtime.commit_lock import sole_committer
from tidemark.errors import LakeUnavailable


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    table, steps, inside = str(tmp_path / "lake" / "table"), [], threading.Event()

    def second() -> None:
        inside.wait(10)
        with sole_committer(table):
            steps.append("second")

    other = threading.Thread(target=second)
    other.start()
    with sole_committer(table):
        inside.set()
        other.join(0.3)
        assert other.is_alive()
        steps.append("first")
    other.join(10)
    assert steps == ["first", "second"]


def test_one_that_hangs_does_not_hold_the_other_up_for_ever(tmp_path: Path) -> None:
    table = str(tmp_path / "table")
    with sole_committer(table), sole_committer(table, patience_s=0.1):
        pass


def test_tables_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with sole_committer(str(tmp_path / "a")), sole_committer(str(tmp_path / "b"), patience_s=60):
        pass


def test_an_object_store_needs_no_lock() -> None:
    with sole_committer("s3://bucket/table"):
        pass


def test_a_lake_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file")
    with pytest.raises(LakeUnavailable, match=r"^lake: cannot write "), sole_committer(str(tmp_path / "lake/table")):
        pass
