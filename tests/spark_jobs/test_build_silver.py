"""bronze → silver: once, first arrival wins, across restarts."""

from typing import Any

import pytest

from spark_jobs import build_silver
from spark_jobs.build_silver import SilverResult
from tests.spark_jobs.conftest import Lake, access

pytestmark = pytest.mark.spark


def _build(lake: Lake) -> SilverResult:
    return build_silver.run(lambda: lake.spark, lake.settings, lake.registry.contracts["access"])


def _silver(lake: Lake) -> dict[str, int]:
    rows = lake.rows(lake.tables.silver("access"))
    assert len({row["event_id"] for row in rows}) == len(rows)
    return {row["event_id"]: row["access_count"] for row in rows}


def _conflicts(lake: Lake) -> list[tuple[list[str], str, bool]]:
    rows = lake.rows(lake.tables.bronze_quarantine("access"))
    return [(row["reasons"], row["stage"], '"access_count": 99' in row["raw"]) for row in rows]


def test_the_first_arrival_wins_within_and_across_batches(lake: Lake) -> None:
    lake.arrive(access("a", 0, 1), access("a", 0, 1), access("a", 0, 99), access("b", 0, 2))
    first = _build(lake)
    assert (first.read, first.added, first.duplicates, first.conflicts) == (4, 2, 1, 1)
    lake.arrive(access("b", 0, 2), access("b", 0, 99), access("c", 0, 3))
    second = _build(lake)
    assert (second.read, second.added, second.duplicates, second.conflicts) == (3, 1, 1, 1)
    assert _silver(lake) == {"a": 1, "b": 2, "c": 3}
    assert _conflicts(lake) == [(["event_id:conflict"], "conflict", True)] * 2
    assert _build(lake).read == 0


def test_order_of_keys_and_unknown_fields_make_no_other_payload(lake: Lake) -> None:
    event = access("a", 0, 1)
    lake.arrive(event, dict(reversed(event.items())), {**event, "firmware": "9"})
    assert (_build(lake).duplicates, _conflicts(lake)) == (2, [])


def test_a_death_between_the_two_appends_loses_and_doubles_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.arrive(access("a", 0, 1), access("a", 0, 99))

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(build_silver, "write_silver", kill)
        with pytest.raises(KeyboardInterrupt):
            _build(lake)
    lake.arrive(access("b", 0, 2), access("a", 0, 99))
    result = _build(lake)
    assert (result.read, result.added, result.conflicts) == (4, 2, 2)
    assert _silver(lake) == {"a": 1, "b": 2}
    assert len(_conflicts(lake)) == 2


def test_a_log_that_was_cut_is_made_up_for_by_reading_all(lake: Lake) -> None:
    from pathlib import Path

    lake.arrive(access("a", 0, 1), access("a", 0, 99))
    _build(lake)
    lake.arrive(access("b", 0, 2))
    lake.spark.read.format("delta").load(lake.tables.bronze_events("access")).count()
    log = Path(lake.tables.bronze_events("access")) / "_delta_log"
    from deltalake import DeltaTable

    DeltaTable(lake.tables.bronze_events("access")).create_checkpoint()
    (log / f"{0:020d}.json").unlink()
    (log / f"{1:020d}.json").unlink()
    assert _build(lake).added == 1
    assert _silver(lake) == {"a": 1, "b": 2}
    assert len(_conflicts(lake)) == 1


def test_suspects_are_computed_before_rows_are_joined_to_them(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spark began to shuffle all rows while it did not know how few suspects there are."""
    computed: list[bool] = []
    classify = build_silver.classify

    def record(bronze: Any, known: Any, suspects: Any, contracts: Any) -> Any:
        cache = suspects._jdf.queryExecution().withCachedData().cacheBuilder()
        computed.append(cache.isCachedColumnBuffersLoaded())
        return classify(bronze, known, suspects, contracts)

    monkeypatch.setattr(build_silver, "classify", record)
    lake.arrive(access("a", 0, 1), access("b", 0, 1), access("b", 0, 2))
    _build(lake)
    assert computed == [True]
