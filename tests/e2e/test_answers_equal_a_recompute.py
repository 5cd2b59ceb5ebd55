"""The whole pipeline for real: random chunks, late and repeated and broken records, restarts, replays, random cuts.

After every step each answer is held against a plain recompute: of what the last batch had for sealed windows, of all
that has been drained for later ones. Where it says that it covers, it must be right; where it is not, it must say so.
After the last batch everything is covered and everything is right.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from conf.settings import Settings
from data.faults import Faults
from tests.e2e.corpus import Corpus, make_corpus
from tests.e2e.deployment import Deployment
from tests.oracle import METRICS, mismatches, points
from tests.packs import SHIPPED
from tidemark.windows import Span, ceil_to, floor_to, window_name

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]
FAULTS = Faults(late=0.06, duplicates=0.06, invalid=0.06)
START = datetime(2025, 10, 25, 22, 20, tzinfo=UTC)
LENGTH_S = 7200


@dataclass
class Story:
    """One contract's corpus, cut at random places, and how much of it has been sent."""

    corpus: Corpus
    chunks: list[list[bytes]]
    drained: set[bytes] = field(default_factory=set)
    batched: set[bytes] = field(default_factory=set)

    def events(self, sealed_through: str | None) -> list[dict[str, Any]]:
        """Distinct valid events that an answer must hold: sealed windows know what the last batch knew."""
        edge = -math.inf if sealed_through is None else _seconds(sealed_through)
        return [
            event
            for raw, event in self.corpus.by_record.items()
            if raw in (self.batched if _seconds(event["timestamp"]) < edge else self.drained)
        ]

    def span(self, granule_s: int) -> Span:
        times = [_seconds(event["timestamp"]) for event in self.corpus.events]
        return Span(floor_to(min(times), granule_s), ceil_to(max(times) + 1, granule_s))


def tell(contract: str, seed: int, cuts: int) -> Story:
    corpus = make_corpus(contract, seed, START, 0.12, LENGTH_S, FAULTS)
    rng = Random(f"cuts {contract} {seed}")
    places = sorted(rng.sample(range(1, len(corpus.records)), cuts))
    edges = [0, *places, len(corpus.records)]
    return Story(corpus, [list(corpus.records[a:b]) for a, b in pairwise(edges)])


def uncovered(answer: dict[str, Any]) -> list[Span]:
    return [Span(_seconds(gap["from"]), _seconds(gap["to"])) for gap in answer["missing"]]


def _seconds(text: str) -> int:
    return math.floor(datetime.fromisoformat(text).timestamp())


def check_answers(deployment: Deployment, stories: dict[str, Story], rng: Random) -> int:
    """Every metric, at a random declared window and grouping; returns how many points were uncovered."""
    holes = 0
    for name in METRICS:
        metric = SHIPPED.metrics[name]
        if metric.contract not in stories:
            continue
        story = stories[metric.contract]
        length = rng.choice(metric.windows)
        dims = tuple(dim.name for dim in metric.dims if rng.random() < 0.7)
        span = story.span(metric.granule_s)
        answer = deployment.answer(name, window_name(length), span.start, span.end, dims)
        gaps = uncovered(answer)
        assert answer["complete"] is (not gaps)
        truth = points(name, story.events(answer["sealed_through"]), length, dims, {})

        def covered(at: int, gaps: list[Span] = gaps) -> bool:
            return not any(gap.start <= at < gap.end for gap in gaps)

        kept = [point for point in answer["points"] if covered(_seconds(point["start"]))]
        right = {key: values for key, values in truth.items() if covered(key[0])}
        assert mismatches(kept, right, dims) == [], (name, length, dims)
        check_layers(answer)
        holes += len(truth) - len(right)
    return holes


def check_layers(answer: dict[str, Any]) -> None:
    sealed = answer["sealed_through"]
    for point in answer["points"]:
        before = sealed is not None and _seconds(point["end"]) <= _seconds(sealed)
        assert (point["layer"], point["state"] == "sealed") == (("batch", True) if before else ("speed", False))


def seal(deployment: Deployment, stories: dict[str, Story], through: int) -> None:
    deployment.batch(through)
    for story in stories.values():
        story.batched = set(story.drained)


def check_conservation(deployment: Deployment, stories: dict[str, Story]) -> None:
    status = deployment.status()["contracts"]
    for contract, story in stories.items():
        counts, corpus = status[contract], story.corpus
        assert counts["received"] == counts["valid"] + counts["quarantined"] + counts["duplicates"]
        assert counts["received"] == len(corpus.records)
        assert counts["valid"] == len(corpus.events)
        assert counts["quarantined"] == corpus.quarantined
        assert counts["lag_seconds"] == 0


@pytest.mark.parametrize(("seed", "contracts"), [(11, ("access", "telemetry")), (12, ("clickstream", "orders"))])
def test_every_answer_is_right_or_says_where_it_is_not(
    seed: int, contracts: tuple[str, ...], spark: "SparkSession", settings: Settings
) -> None:
    rng = Random(f"story {seed}")
    deployment = Deployment(spark, settings, contracts)
    stories = {contract: tell(contract, seed, cuts=2) for contract in contracts}
    through = int(START.timestamp()) + LENGTH_S // 2
    for step in range(3):
        for contract, story in stories.items():
            deployment.ingest(contract, story.chunks[step])
        deployment.drain()
        if step == 1:
            for contract in contracts:
                deployment.forget_last_commit(contract, rng.choice(["lake", "exact"]))
            deployment.drain()
        for story in stories.values():
            story.drained |= set(story.chunks[step])
        check_answers(deployment, stories, rng)
        if step == 1:
            seal(deployment, stories, through)
            check_answers(deployment, stories, rng)
    check_conservation(deployment, stories)
    seal(deployment, stories, max(story.span(3600).end for story in stories.values()))
    for _ in range(3):
        assert check_answers(deployment, stories, rng) == 0
    check_conservation(deployment, stories)
