"""What a Delta log says about appends."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from spark_jobs.added_minutes import count_added, count_all
from spark_jobs.delta_log import AddedFile, added_files, head_version, may_hold, total_rows
from tests.packs import SHIPPED
from tidemark.keys import LakeTables
from tidemark.windows import Span

T0 = 1_767_225_600
ACCESS = SHIPPED.contracts["access"]


def _append(uri: str, *seconds: float) -> None:
    moments = [datetime.fromtimestamp(T0 + second, UTC) for second in seconds]
    rows = pa.table({"timestamp": pa.array(moments, pa.timestamp("us", "UTC")), "n": list(range(len(seconds)))})
    write_deltalake(uri, rows, mode="append")


@pytest.fixture
def tables(tmp_path: Path) -> LakeTables:
    return LakeTables(str(tmp_path / "lake"))


def test_a_table_that_is_not_there_has_no_version(tables: LakeTables) -> None:
    assert head_version(tables.silver("access")) is None


def test_only_what_commits_added_as_data_is_found(tables: LakeTables) -> None:
    uri = tables.silver("access")
    _append(uri, 1, 2)
    _append(uri, 3)
    DeltaTable(uri).optimize.compact()
    assert head_version(uri) == 2
    assert total_rows(added_files(uri, 0, 2) or []) == 1
    assert total_rows(added_files(uri, -1, 2) or []) == 3
    assert added_files(uri, 2, 2) == []


def test_a_rewrite_of_new_files_alone_is_read_in_place_of_them(tables: LakeTables) -> None:
    uri = tables.silver("access")
    _append(uri, 1)
    _append(uri, 2)
    DeltaTable(uri).optimize.compact()
    _append(uri, 3)
    for after, rows in ((-1, 3), (0, 2), (1, 1), (2, 1), (3, 0)):
        assert total_rows(added_files(uri, after, 3) or []) == rows, after


def test_a_replaced_part_is_new_and_a_rewrite_of_it_is_not(tables: LakeTables) -> None:
    uri = tables.gold("device_access")
    _append(uri, 1)
    DeltaTable(uri).optimize.z_order(["n"])
    DeltaTable(uri).optimize.z_order(["timestamp"])
    assert added_files(uri, 0, head_version(uri) or 0) == []
    write_deltalake(uri, DeltaTable(uri).to_pyarrow_table(), mode="overwrite")
    head = head_version(uri) or 0
    assert total_rows(added_files(uri, 0, head) or []) == 1
    DeltaTable(uri).optimize.z_order(["n"])
    assert total_rows(added_files(uri, 0, head + 1) or []) == 1
    assert added_files(uri, head, head + 1) == []


def test_files_are_named_as_they_are_on_disk_and_rows_without_statistics_are_not_guessed(tables: LakeTables) -> None:
    uri = tables.silver("access")
    write_deltalake(uri, pa.table({"n": [1], "place": ["a b%20ü"]}), partition_by=["place"])
    files = added_files(uri, -1, 0) or []
    assert [Path(file.uri).exists() for file in files] == [True]
    assert total_rows([*files, AddedFile("elsewhere")]) is None


def test_text_of_events_in_the_statistics_does_not_break_the_log(tables: LakeTables) -> None:
    uri = tables.silver("access")
    write_deltalake(uri, pa.table({"text": ["line\u2028separator", "next\x85line", "form\x0cfeed"]}))
    assert total_rows(added_files(uri, -1, 0) or []) == 3


def test_a_log_that_was_cut_is_told_apart_from_no_files(tables: LakeTables) -> None:
    uri = tables.silver("access")
    _append(uri, 1)
    _append(uri, 2)
    (Path(uri) / "_delta_log" / f"{1:020d}.json").unlink()
    assert added_files(uri, 0, 1) is None


def test_added_events_are_counted_per_minute_also_before_the_epoch(tables: LakeTables) -> None:
    uri = tables.silver("access")
    _append(uri, 0)
    _append(uri, 59.999999, 60, -T0 - 0.5)
    assert count_added(tables, ACCESS, 0, 1) == {T0: 1, T0 + 60: 1, -60: 1}
    assert count_all(tables, ACCESS, 1) == {T0: 2, T0 + 60: 1, -60: 1}


def test_statistics_tell_which_spans_cannot_have_events(tables: LakeTables) -> None:
    uri = tables.silver("access")
    _append(uri, 100, 200)
    assert may_hold(uri, 0, "timestamp", [Span(T0, T0 + 101)])
    assert may_hold(uri, 0, "timestamp", [Span(T0 + 200, T0 + 300)])
    assert not may_hold(uri, 0, "timestamp", [Span(T0 + 201, T0 + 300), Span(T0, T0 + 100)])
