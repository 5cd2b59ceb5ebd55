"""The whole batch on a real lake and a real Redis."""

import pytest

from spark_jobs import nightly, publish
from tests.spark_jobs.conftest import HOUR, METRIC, T0, Lake, access, no_spark
from tidemark import keys
from tidemark.errors import Fault, GateFailed, UserError
from tidemark.metrics.model import Metric
from tidemark.partials import PartialCodec

pytestmark = pytest.mark.spark
DEV_1 = "5:dev-1"


def _metric(lake: Lake) -> Metric:
    return lake.registry.metrics["device_access"]


def test_a_batch_seals_whole_windows_below_through_and_publishes_them(lake: Lake) -> None:
    lake.arrive(access("a", 0, 2), access("b", 599.999, 4), access("c", 600, 6), access("d", HOUR, 100))
    report = lake.batch(HOUR)
    assert report.passed
    gold = lake.gold()
    assert {key: row["avg_access"] for key, row in gold.items()} == {
        ("10m", 0, DEV_1): 3.0,
        ("10m", 600, DEV_1): 6.0,
        ("30m", 0, DEV_1): 4.0,
    }
    publication = lake.publication()
    assert (publication.version, publication.sealed_through, publication.gate) == (1, T0 + HOUR, "passed")
    hashed = lake.redis.hgetall(keys.batch_window(_metric(lake).family, 1800, T0, 1))
    assert hashed == {DEV_1.encode(): gold["30m", 0, DEV_1]["partial"], b"#": b"1"}
    assert PartialCodec(_metric(lake)).decode(gold["30m", 0, DEV_1]["partial"]) == (12, 3)
    assert lake.redis.hgetall(keys.batch_window(_metric(lake).family, 600, T0 + 3000, 1)) == {b"#": b"0"}


def test_through_is_floored_to_the_longest_window(lake: Lake) -> None:
    lake.arrive(access("a", 0))
    lake.batch(HOUR - 1)
    assert lake.publication().sealed_through == T0 + 1800


def test_a_batch_with_nothing_new_changes_nothing(lake: Lake) -> None:
    lake.arrive(access("a", 0))
    lake.batch(HOUR)
    before = lake.publication()
    assert lake.batch(HOUR).metrics["device_access"].state == "unchanged"
    assert lake.publication() == before


def test_a_late_event_reseals_its_granule_alone(lake: Lake) -> None:
    lake.arrive(access("a", 0, 1), access("b", 1800, 1))
    lake.batch(HOUR)
    lake.arrive(access("late", 5, 3))
    report = lake.batch(HOUR)
    assert (report.metrics["device_access"].granules_dirty, report.metrics["device_access"].granules_new) == (1, 0)
    assert lake.gold()["10m", 0, DEV_1]["avg_access"] == 2.0
    publication = lake.publication()
    assert (publication.version, publication.version_of(T0), publication.version_of(T0 + 1800)) == (2, 2, 1)
    family = _metric(lake).family
    assert lake.redis.ttl(keys.batch_window(family, 600, T0, 1)) > 0
    assert lake.redis.ttl(keys.batch_window(family, 600, T0, 2)) == -1
    assert lake.redis.ttl(keys.batch_window(family, 600, T0 + 1800, 1)) == -1


def test_a_full_batch_gives_the_same_partials(lake: Lake) -> None:
    lake.arrive(*(access(str(i), i * 7, i % 5, f"dev-{i % 3}") for i in range(400)))
    lake.batch(1800)
    lake.arrive(access("late", 3, 9, "dev-7"))
    lake.batch(HOUR)
    before = {key: row["partial"] for key, row in lake.gold().items()}
    lake.batch(HOUR, full=True)
    assert {key: row["partial"] for key, row in lake.gold().items()} == before
    assert len(before) > 10


def test_an_empty_contract_is_sealed_as_empty(lake: Lake) -> None:
    report = lake.batch(HOUR)
    assert report.passed
    assert lake.publication().sealed_through == T0 + HOUR
    assert lake.publication().gold_version is None


def test_a_seal_below_all_events_writes_no_gold_and_loses_none(lake: Lake) -> None:
    lake.arrive(access("a", HOUR + 5, 4))
    lake.batch(HOUR)
    assert lake.publication().gold_version is None
    assert lake.rows(lake.tables.gold("device_access")) == []
    lake.batch(2 * HOUR)
    assert set(lake.gold()) == {("10m", HOUR, DEV_1), ("30m", HOUR, DEV_1)}


def test_a_changed_definition_is_backfilled_under_its_own_family(lake: Lake) -> None:
    lake.arrive(access("a", 0, 2), access("b", 60, 5))
    lake.batch(HOUR)
    old = lake.publication()
    lake.define({**METRIC, "sql": "SELECT device_id, MAX(access_count) AS most FROM access GROUP BY device_id"})
    report = lake.batch(HOUR)
    assert report.metrics["device_access"].state == "sealed"
    new = lake.publication()
    assert (new.version, new.family != old.family, new.sealed_through) == (2, True, old.sealed_through)
    assert {key: row["most"] for key, row in lake.gold().items()} == {("10m", 0, DEV_1): 5, ("30m", 0, DEV_1): 5}
    assert lake.redis.ttl(keys.batch_window(old.family, 600, T0, 1)) > 0


@pytest.mark.parametrize(("first", "then"), [(HOUR, 1800), (None, 40 * 86_400)])
def test_through_may_neither_go_back_nor_ahead_of_the_clock(lake: Lake, first: int | None, then: int) -> None:
    if first:
        lake.batch(first)
    with pytest.raises(UserError, match="--through"):
        lake.batch(then)


def test_the_default_never_moves_a_seal_back(lake: Lake) -> None:
    lake.batch(HOUR)
    lake.batch(None, now_s=2 * HOUR)
    assert lake.publication().sealed_through == T0 + HOUR


def test_a_failed_gate_keeps_the_old_publication_and_names_the_expectation(lake: Lake) -> None:
    lake.arrive(access("a", 0))
    lake.batch(1800)
    bronze = lake.tables.bronze_events("access")
    poisoned = (
        lake.spark.read.format("delta")
        .load(bronze)
        .selectExpr("* EXCEPT (event_id, access_count)", "'bad' AS event_id", "-5L AS access_count")
    )
    poisoned.write.format("delta").mode("append").save(bronze)
    report = lake.batch(HOUR)
    with pytest.raises(GateFailed, match=r"silver\.access: expect_column_values_to_be_between\(access_count\)"):
        report.raise_for_gates()
    assert lake.publication().sealed_through == T0 + 1800
    failed = [row for row in lake.rows(lake.tables.gates) if not row["passed"]]
    assert [row["name"] for row in failed] == ["access"]
    assert [row["event_id"] for row in lake.rows(lake.tables.silver("access"))] == ["a"]
    assert not lake.batch(HOUR).passed


@pytest.mark.parametrize("killed_in", ["prepare_hot", "commit_publications", "point_to", "clean_up"])
def test_a_rerun_after_a_kill_finishes(lake: Lake, killed_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.arrive(access("a", 0, 4))

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publish, killed_in, kill)
        with pytest.raises(KeyboardInterrupt):
            lake.batch(HOUR)
    lake.arrive(access("b", 60, 6))
    lake.batch(HOUR)
    assert lake.gold()["10m", 0, DEV_1]["avg_access"] == 5.0
    publication, family = lake.publication(), _metric(lake).family
    held = lake.redis.hgetall(keys.batch_window(family, 600, T0, publication.version_of(T0) or 0))
    assert held == {DEV_1.encode(): lake.gold()["10m", 0, DEV_1]["partial"], b"#": b"1"}


def test_an_emptied_redis_is_filled_again_from_the_lake(lake: Lake) -> None:
    lake.arrive(access("a", 0, 4))
    lake.batch(HOUR)
    publication = lake.publication()
    lake.redis.flushall()
    assert lake.batch(HOUR).metrics["device_access"].state == "unchanged"
    assert lake.publication() == publication
    assert lake.redis.hexists(keys.batch_window(publication.family, 600, T0, 1), DEV_1)


def test_hot_windows_under_the_current_pointer_are_not_written_again(lake: Lake) -> None:
    """A batch began with all of them, although nothing was missing."""
    lake.arrive(access("a", 0, 4))
    lake.batch(HOUR)
    key = keys.batch_window(lake.publication().family, 600, T0, 1)
    lake.redis.hset(key, "mark", "of this test")
    lake.batch(HOUR)
    assert lake.redis.hexists(key, "mark")
    lake.redis.delete(keys.publication("device_access"))
    lake.batch(HOUR)
    assert not lake.redis.hexists(key, "mark")


def test_the_published_document_follows_the_seal(lake: Lake) -> None:
    lake.arrive(access("a", 0, 4), access("b", 1300, 8))
    lake.batch(HOUR)
    text = lake.redis.get("agg:device:dev-1:latest")
    assert isinstance(text, bytes)
    assert b'"window_start":"2026-01-01T00:20:00Z"' in text
    assert b'"avg_access": 8.0' in text


def test_a_second_batch_beside_a_running_one_is_refused(lake: Lake) -> None:
    from pathlib import Path

    from spark_jobs.batch_lock import local_lock

    with local_lock(Path(lake.settings.lake_uri)), pytest.raises(Fault, match="another batch"):
        lake.batch(HOUR)


def test_nothing_to_compute_needs_no_spark(lake: Lake) -> None:
    assert nightly.run(no_spark, lake.settings, lake.registry, T0 + HOUR, T0 + 2.0 * HOUR).passed
