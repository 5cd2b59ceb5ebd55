"""Late data: 1 % of a day's events come 1 to 48 hours late. The next batch is exact, computes again only the granules
that they fall into, and changes the ETags of exactly the ranges that hold one of those.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from deltalake import DeltaTable

from conf.settings import Settings
from data.stream import sent_records
from data.traffic import Traffic, iso_ms
from serving.deps import open_services
from serving.query import Asked
from tests.e2e.deployment import Deployment
from tests.oracle import METRICS, mismatches, points
from tests.oracle.recompute import event_second
from tests.packs import SHIPPED
from tidemark.keys import LakeTables
from tidemark.metrics.model import Metric
from tidemark.windows import Span, floor_to, iso, window_name

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.fault]
T0 = 1_767_225_600
HOUR, DAY = 3_600, 86_400
HISTORY = Span(T0, T0 + 2 * DAY)
LATE_SHARE, LATE_S = 0.01, (HOUR, 48 * HOUR)
Event = dict[str, Any]


@dataclass(frozen=True)
class Night:
    """What came in on one day: the records as sent, the events that they are, and the times of the late ones."""

    records: list[bytes]
    late_s: list[int]

    @property
    def events(self) -> list[Event]:
        return [orjson.loads(raw) for raw in self.records]


def traffic(contract: str, span: Span, rate: float, seed: int) -> list[bytes]:
    """Events in order of time."""
    run = Traffic(contract, rate, span.end - span.start, seed, span.start * 1000, keys=8)
    return [sent.raw for sent in sent_records(run, SHIPPED.contracts[contract].newest)]


def with_late(records: Sequence[bytes], seed: int) -> Night:
    """LATE_SHARE of the events are sent where they are, but happened hours before."""
    rng = Random(f"late {seed}")
    sent, late = [], []
    for raw in records:
        event = orjson.loads(raw)
        if rng.random() < LATE_SHARE:
            event["timestamp"] = iso_ms(event_second(event) * 1000 - round(rng.uniform(*LATE_S) * 1000))
            late.append(event_second(event))
        sent.append(orjson.dumps(event))
    return Night(sent, late)


def ranges(sealed: Span, granule_s: int) -> list[Span]:
    """Every sealed granule, every day, and all of it."""
    granules = [Span(start, start + granule_s) for start in range(sealed.start, sealed.end, granule_s)]
    days = [Span(start, start + DAY) for start in range(sealed.start, sealed.end, DAY)]
    return [*granules, *days, sealed]


def etags(settings: Settings, metric: Metric, spans: Iterable[Span], known: dict[Span, str] | None = None) -> Any:
    """Per range its ETag; with `known`, the ranges that are answered 304 to a reader who has those."""
    return asyncio.run(_etags(settings, metric, list(spans), known))


async def _etags(settings: Settings, metric: Metric, spans: list[Span], known: dict[Span, str] | None) -> Any:
    services = await open_services(settings)
    window, dims = window_name(max(metric.windows)), tuple(dim.name for dim in metric.dims)
    try:
        found = {}
        for span in spans:
            asked = Asked(metric.name, window, iso(span.start), iso(span.end), (), dims, None, None, False)
            found[span] = await services.answers.answer(asked, known[span] if known else None)
    finally:
        await services.close()
    if known:
        return {span for span, answer in found.items() if answer.head is None}
    return {span: answer.etag for span, answer in found.items()}


def granules_of(seconds: Iterable[int], below: int, granule_s: int) -> set[int]:
    return {floor_to(second, granule_s) for second in seconds if second < below}


def assert_exact(deployment: Deployment, contract: str, events: Sequence[Event], span: Span) -> None:
    """(R) for every metric of the contract, at every declared window."""
    for metric in SHIPPED.metrics_of(contract):
        dims = METRICS[metric.name].dims
        for window_s in metric.windows:
            found = deployment.answer(metric.name, window_name(window_s), span.start, span.end, dims)
            assert found["complete"], (metric.name, found["missing"])
            wrong = mismatches(found["points"], points(metric.name, events, window_s, dims, {}), dims)
            assert wrong == [], f"{metric.name} {window_s}: {len(wrong)}, first {wrong[:3]}"


def assert_only_these_were_computed(
    settings: Settings, metric: Metric, computed: set[int], version: int, events: Sequence[Event], rows: int
) -> None:
    """Rows of gold in these granules are of this version, all others of older ones; the report counts them."""
    gold = DeltaTable(LakeTables(settings.lake_uri).gold(metric.name)).to_pyarrow_table(
        columns=["version", "window_start"]
    )
    seen = {
        (floor_to(int(at.timestamp()), metric.granule_s) in computed, number == version)
        for at, number in zip(gold["window_start"].to_pylist(), gold["version"].to_pylist(), strict=True)
    }
    assert seen <= {(True, True), (False, False)}, metric.name
    expected = sum(
        floor_to(start, metric.granule_s) in computed
        for window_s in metric.windows
        for start, _ in points(metric.name, events, window_s, METRICS[metric.name].dims, {})
    )
    assert rows == expected, metric.name


@pytest.mark.parametrize(
    ("contract", "seed", "nights"),
    [
        ("access", 1, 1),
        pytest.param("orders", 2, 2, marks=pytest.mark.long),
        pytest.param("clickstream", 3, 2, marks=pytest.mark.long),
        pytest.param("telemetry", 4, 3, marks=pytest.mark.long),
    ],
)
def test_late_events_are_sealed_by_the_next_batch_and_by_nothing_more(
    spark: "SparkSession", settings: Settings, contract: str, seed: int, nights: int
) -> None:
    deployment = Deployment(spark, settings, [contract])
    deployment.ingest(contract, history := traffic(contract, HISTORY, 0.05, seed))
    deployment.drain()
    deployment.batch(HISTORY.end)
    events: list[Event] = [orjson.loads(raw) for raw in history]
    sealed = HISTORY
    for night in range(1, nights + 1):
        sealed, events = late_night(deployment, contract, seed * 10 + night, sealed, events, night + 1)
    report = deployment.batch(sealed.end)
    assert {each["state"] for each in report["metrics"].values()} == {"unchanged"}


def late_night(
    deployment: Deployment, contract: str, seed: int, sealed: Span, before: list[Event], version: int
) -> tuple[Span, list[Event]]:
    """A day with late events, drained and sealed; what is sealed then, and all events so far."""
    settings, metrics = deployment.settings, SHIPPED.metrics_of(contract)
    asked = {metric.name: ranges(sealed, metric.granule_s) for metric in metrics}
    held = {metric.name: etags(settings, metric, asked[metric.name]) for metric in metrics}
    day = Span(sealed.end, sealed.end + DAY)
    night = with_late(traffic(contract, day, 0.1, seed), seed)
    deployment.ingest(contract, night.records)
    deployment.drain()
    for metric in metrics:  # late events alone change nothing that is sealed
        assert etags(settings, metric, asked[metric.name], held[metric.name]) == set(asked[metric.name])

    report = deployment.batch(day.end)
    events, whole = [*before, *night.events], Span(sealed.start, day.end)
    assert report["contracts"][contract]["added"] == len(night.records)
    assert_exact(deployment, contract, events, whole)
    for metric in metrics:
        dirty = granules_of(night.late_s, sealed.end, metric.granule_s)
        told, new = report["metrics"][metric.name], set(range(day.start, day.end, metric.granule_s))
        print(f"{metric.name} seed {seed}: {len(night.late_s)} late of {len(night.records)}, {len(dirty)} dirty")
        assert dirty
        assert (told["granules_dirty"], told["granules_new"]) == (len(dirty), len(new))
        assert_only_these_were_computed(settings, metric, dirty | new, version, events, told["rows"])
        clean = {span for span in asked[metric.name] if not any(span.start <= start < span.end for start in dirty)}
        assert 0 < len(clean) < len(asked[metric.name])
        assert etags(settings, metric, asked[metric.name], held[metric.name]) == clean
    return whole, events
