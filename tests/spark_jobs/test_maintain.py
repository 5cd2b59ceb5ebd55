"""Maintenance of gold, and what the next batch makes of it."""

import pytest

from spark_jobs import maintain, nightly
from spark_jobs.delta_log import head_version
from tests.spark_jobs.conftest import HOUR, T0, Lake, access, no_spark

pytestmark = pytest.mark.spark


def test_a_compacted_lake_is_pinned_by_the_next_seal_without_being_computed_again(lake: Lake) -> None:
    lake.arrive(access("a", 0), access("b", 1800, 3))
    lake.batch(HOUR)
    before = lake.gold()
    maintain.run(lake.settings, lake.registry, T0 + 2.0 * HOUR, dry_run=False)
    compacted = head_version(lake.tables.gold("device_access"))
    nightly.run(no_spark, lake.settings, lake.registry, T0 + 2 * HOUR, T0 + 3.0 * HOUR)
    assert (lake.publication().version, lake.publication().gold_version) == (2, compacted)
    assert lake.gold() == before


def test_maintenance_sorts_what_was_written_since_the_last_time(lake: Lake) -> None:
    """It used to write every file of gold again each time, in the way of every batch beside it."""
    lake.arrive(access("a", 0), access("b", 86_400))
    lake.batch(86_400 + HOUR)
    gold = lake.tables.gold("device_access")
    assert [_sorted_files(lake) for _ in range(2)] == [2, 0]
    sorted_at = head_version(gold)
    assert _sorted_files(lake) == 0
    assert head_version(gold) == sorted_at
    lake.arrive(access("late", 60))
    lake.batch(86_400 + HOUR)
    assert [_sorted_files(lake) for _ in range(2)] == [1, 0]


def _sorted_files(lake: Lake) -> int:
    return maintain.run(lake.settings, lake.registry, T0 + 2.0 * 86_400, dry_run=False)[0].rewritten_files


def test_deletion_after_cold_goes_by_the_clock_and_can_be_tried_dry(lake: Lake) -> None:
    lake.arrive(access("a", 0))
    lake.batch(HOUR)
    gold = lake.tables.gold("device_access")
    in_three_years = T0 + 3.0 * 365 * 86_400
    tried = maintain.run(lake.settings, lake.registry, in_three_years, dry_run=True)
    assert tried[0].deleted_before is not None
    assert len(lake.rows(gold)) == 2
    maintain.run(lake.settings, lake.registry, in_three_years, dry_run=False)
    assert lake.rows(gold) == []
