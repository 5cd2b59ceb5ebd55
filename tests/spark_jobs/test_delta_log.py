"""What a Delta log says about appends."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from spark_jobs.added_minutes import count_added, count_all
from spark_jobs.delta_log import added_files, head_version, may_hold, total_rows
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
