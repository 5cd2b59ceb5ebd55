"""Verdicts on random arrivals, against the rule in plain Python; ids whose hashes collide are told apart."""

import random
from typing import TYPE_CHECKING

import pytest

from spark_jobs import classify
from spark_jobs.build_silver import SilverResult, run
from spark_jobs.classify import CONFLICT, DUPLICATE, NEW
from tests.spark_jobs.conftest import Lake, access

if TYPE_CHECKING:
    from pyspark.sql import Column

pytestmark = pytest.mark.spark


def judge(known: dict[str, int], arrivals: list[tuple[str, int]]) -> dict[str, int]:
    """Counts by verdict; `known`, id → payload, gains what is new."""
    counts = {NEW: 0, DUPLICATE: 0, CONFLICT: 0}
    for event_id, payload in arrivals:
        verdict = NEW if event_id not in known else DUPLICATE if known[event_id] == payload else CONFLICT
        known.setdefault(event_id, payload)
        counts[verdict] += 1
    return counts


def build(lake: Lake) -> SilverResult:
    return run(lambda: lake.spark, lake.settings, lake.registry.contracts["access"])


@pytest.mark.parametrize("collide", [False, True], ids=["hashes apart", "hashes that collide"])
def test_random_arrivals_in_ranges_get_the_verdicts_of_the_rule(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, collide: bool
) -> None:
    if collide:
        monkeypatch.setattr(classify, "_hash_of", _hash_into_four)
    rng, known = random.Random(7), dict[str, int]()
    for size in (60, 1, 40):
        arrivals = [(f"id-{rng.randrange(80)}", rng.randrange(2)) for _ in range(size)]
        lake.arrive(*(access(event_id, 0, payload) for event_id, payload in arrivals))
        found, expected = build(lake), judge(known, arrivals)
        assert (found.added, found.duplicates, found.conflicts) == tuple(expected.values())
    rows = lake.rows(lake.tables.silver("access"))
    assert {row["event_id"]: row["access_count"] for row in rows} == known
    assert len(rows) == len(known)


def _hash_into_four(column: str) -> "Column":
    from pyspark.sql import functions as F

    return F.pmod(F.xxhash64(F.col(f"`{column}`")), F.lit(4)).alias(classify._ID_HASH)
