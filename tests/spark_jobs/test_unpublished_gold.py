"""What a batch wrote to gold and never published is nobody's: the next one begins from what is published."""

from typing import Any

import pytest

from spark_jobs import publish
from spark_jobs.delta_log import head_version, is_written
from tests.spark_jobs.conftest import HOUR, METRIC, Lake, access

pytestmark = pytest.mark.spark
DEV_1 = "5:dev-1"
OTHERS: dict[str, dict[str, Any]] = {
    "other rows": {"sql": METRIC["sql"].replace("FROM access", "FROM access WHERE access_count > 1")},
    "no rows": {"sql": METRIC["sql"].replace("FROM access", "FROM access WHERE access_count > 1000000")},
    "another column": {"sql": METRIC["sql"].replace("AS total", "AS accesses")},
    "another dimension": {"sql": METRIC["sql"].replace("device_id", "user_id"), "publish": {}},
}


def die_before_the_commit(lake: Lake, through_s: int) -> None:
    """A batch that writes gold and is killed before its publication."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "commit_publications", _die)
        with pytest.raises(KeyboardInterrupt):
            lake.batch(through_s)


def _die(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("other", OTHERS)
def test_a_definition_that_is_taken_back_does_not_publish_what_the_other_one_computed(lake: Lake, other: str) -> None:
    """Its rows were there, under the number of the next publication, wherever that one had nothing to compute."""
    lake.arrive(access("a", 0, 1), access("b", 1800, 3))
    lake.batch(HOUR)
    published = lake.gold()
    lake.define({**METRIC, **OTHERS[other]})
    die_before_the_commit(lake, HOUR)
    lake.define(METRIC)
    lake.arrive(access("c", HOUR, 7))
    lake.batch(2 * HOUR)
    gold = lake.gold()
    assert lake.publication().version == 2
    assert {key: row for key, row in gold.items() if key[1] < HOUR} == published
    assert gold["30m", HOUR, DEV_1]["avg_access"] == 7.0


def test_a_dead_batch_that_went_further_does_not_fail_the_gate_of_one_that_does_not(lake: Lake) -> None:
    """Its rows beyond the seal bore the same number, so every batch below was refused."""
    lake.arrive(access("a", 0), access("b", HOUR), access("c", 2 * HOUR))
    lake.batch(HOUR)
    die_before_the_commit(lake, 3 * HOUR)
    assert lake.batch(2 * HOUR).passed
    assert {start for _, start, _ in lake.gold()} == {0, HOUR}


def test_maintenance_alone_does_not_count_as_written(lake: Lake) -> None:
    lake.arrive(access("a", 0), access("b", 1800, 3))
    lake.batch(HOUR)
    gold, pinned = lake.tables.gold("device_access"), lake.publication().gold_version
    assert pinned is not None
    for statement in (f"OPTIMIZE delta.`{gold}`", f"DELETE FROM delta.`{gold}` WHERE window_date < '2000-01-01'"):
        lake.spark.sql(statement)
    head = head_version(gold)
    assert head is not None
    assert not is_written(gold, pinned, head)
    lake.arrive(access("c", HOUR))
    die_before_the_commit(lake, 2 * HOUR)
    after = head_version(gold)
    assert after is not None
    assert is_written(gold, pinned, after)


def test_rows_of_a_dead_batch_beyond_the_seal_are_replaced(lake: Lake) -> None:
    lake.arrive(access("a", 0))
    lake.batch(1800)
    pinned = lake.publication()
    gold = lake.tables.gold("device_access")
    stray = (
        lake.spark.read.format("delta")
        .load(gold)
        .selectExpr(
            "* EXCEPT (window_start, window_end)",
            "window_start + INTERVAL 30 MINUTES AS window_start",
            "window_end + INTERVAL 30 MINUTES AS window_end",
        )
    )
    stray.write.format("delta").mode("append").save(gold)
    lake.batch(HOUR)
    assert lake.publication().gold_version != pinned.gold_version
    assert {start for _, start, _ in lake.gold()} == {0}
