"""The heart of the suite, without processes: every shipped metric, random events, random cuts between the layers.

The same events go through the stream's projection and grouping and through the batch's; their partials must be
identical. Then random cuts, groupings, filters and window lengths: the merged answer must equal a plain recompute.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from conf.settings import Settings
from data.faults import Faults
from tests.e2e.corpus import Corpus, make_corpus
from tests.oracle import METRICS, mismatches, points
from tests.packs import SHIPPED
from tidemark.coverage import SpeedState
from tidemark.keys import EVENTS_FAMILY
from tidemark.merge import Query, base_window, check_dims, merge_answer
from tidemark.metrics.model import Metric
from tidemark.partials import PartialCodec
from tidemark.points import Row
from tidemark.progress import Progress
from tidemark.publication import Publication
from tidemark.windows import WINDOWS, Span, ceil_to, floor_to

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark
SEEDS = (1, 2, 3)
CUTS_PER_METRIC = 12
START = datetime(2024, 2, 28, 22, 30, tzinfo=UTC)
FAULTS = Faults(late=0.05, duplicates=0.05, invalid=0.05)

Cell = tuple[int, int, bytes]
"""(window length, start, dims key)."""


@pytest.fixture(scope="module")
def corpora() -> dict[str, list[Corpus]]:
    """Per contract, one corpus a seed, some days apart: one Spark job serves them all."""
    return {
        contract: [make_corpus(contract, seed, START + timedelta(days=4 * seed), 0.1, 9000, FAULTS) for seed in SEEDS]
        for contract in SHIPPED.contracts
    }


@pytest.fixture(scope="module")
def accepted(
    spark: "SparkSession", corpora: dict[str, list[Corpus]], tmp_path_factory: pytest.TempPathFactory
) -> "dict[str, DataFrame]":
    """Per contract, the valid distinct events as both layers see them: checked, typed, masked."""
    settings = Settings(env="test", home=tmp_path_factory.mktemp("home"))
    return {name: valid_events(spark, name, runs, settings).persist() for name, runs in corpora.items()}


def valid_events(spark: "SparkSession", contract: str, runs: list[Corpus], settings: Settings) -> "DataFrame":
    from quality.stream_check import parse_events

    contracts = SHIPPED.contracts[contract]
    records = [raw for corpus in runs for raw in corpus.records]
    received = datetime(2030, 1, 1, tzinfo=UTC)
    rows = [(bytearray(raw), received, "segment", 0, offset) for offset, raw in enumerate(records)]
    schema = "value binary, received_at timestamp, source string, source_partition int, source_offset bigint"
    parsed = parse_events(spark.createDataFrame(rows, schema), contracts, settings)
    return parsed.where("size(reasons) = 0").dropDuplicates([contracts.newest.dedupe])


def stream_partials(events: "DataFrame", contract: str, lane: str) -> dict[str, dict[Cell, bytes]]:
    """family → cell → packed partial, by the speed layer's own transforms over a static frame."""
    from streaming.speed_views import add_bucket, aggregate_state, columns_read, explode_families
    from streaming.view_rows import ViewRows

    metrics = [metric for metric in SHIPPED.metrics_of(contract) if metric.lane == lane]
    contracts = SHIPPED.contracts[contract]
    valid = add_bucket(events.select("received_at", *columns_read(contracts, metrics)), contracts)
    state = aggregate_state(explode_families(valid, metrics, lane), lane)
    found: dict[str, dict[Cell, bytes]] = {metric.family: {} for metric in metrics}
    for command in ViewRows(contract, metrics).commands(state.toArrow()):
        if command[0] == "HSET" and ":speed:" in str(command[1]):
            family, length, start = str(command[1]).split(":speed:")[1].rsplit(":", 2)
            for key, packed in zip(command[2::2], command[3::2], strict=True):
                found[family][int(length), int(start), str(key).encode()] = bytes(packed)  # type: ignore[arg-type]
    assert EVENTS_FAMILY not in found
    return found


def batch_partials(events: "DataFrame", metric: Metric) -> dict[Cell, bytes]:
    """Cell → packed partial, by the batch's own transforms."""
    from spark_jobs.build_gold import pack_rows, shape_rows
    from spark_jobs.window_groups import group_events

    groups = group_events(events, metric, SHIPPED.contracts[metric.contract])
    rows = pack_rows(shape_rows(groups, metric, 1), metric)
    table = rows.selectExpr("window", "unix_seconds(window_start) AS start", "dims_key", "partial").toArrow()
    columns = (table[name].to_pylist() for name in ("window", "start", "dims_key", "partial"))
    return {(WINDOWS[w], start, key.encode()): partial for w, start, key, partial in zip(*columns, strict=True)}


@pytest.fixture(scope="module")
def partials(accepted: "dict[str, DataFrame]") -> dict[str, tuple[dict[Cell, bytes], dict[Cell, bytes]]]:
    """metric → (batch's partials, stream's partials)."""
    found: dict[str, tuple[dict[Cell, bytes], dict[Cell, bytes]]] = {}
    for contract, events in accepted.items():
        for lane in {metric.lane for metric in SHIPPED.metrics_of(contract)}:
            families = stream_partials(events, contract, lane)
            for metric in SHIPPED.metrics_of(contract):
                if metric.lane == lane:
                    found[metric.name] = batch_partials(events, metric), families[metric.family]
    return found


@pytest.mark.parametrize("name", sorted(METRICS))
def test_stream_and_batch_give_identical_partials(
    name: str, partials: Mapping[str, tuple[dict[Cell, bytes], dict[Cell, bytes]]]
) -> None:
    metric = SHIPPED.metrics[name]
    batch, stream = partials[name]
    assert batch.keys() == stream.keys()
    if metric.lane == "exact" and name != "device_energy":
        assert batch == stream
        return
    codec = PartialCodec(metric)
    for cell, packed in batch.items():
        ours, theirs = codec.decode(packed), codec.decode(stream[cell])
        for output in metric.outputs:
            mine, other = output.final.evaluate(ours, cell[0]), output.final.evaluate(theirs, cell[0])
            assert mine == pytest.approx(other, rel=1e-9 if metric.lane == "exact" else 0.03), (cell, output.name)


def rows_of(cells: Mapping[Cell, bytes], metric: Metric, length: int, span: Span) -> Iterator[Row]:
    codec = PartialCodec(metric)
    for (window_s, start, key), packed in cells.items():
        if window_s == length and span.start <= start < span.end:
            yield Row(start, key, codec.decode(packed))


def random_query(metric: Metric, events: tuple[dict[str, Any], ...], span: Span, rng: Random) -> Query:
    """A declared or composed window, a random grouping, and sometimes a filter on a value that occurs."""
    lengths = [s for s in WINDOWS.values() if any(s % declared == 0 for declared in metric.windows)]
    length = rng.choice(lengths)
    names = [dim.name for dim in metric.dims]
    group_by = tuple(name for name in names if rng.random() < 0.6)
    filters: dict[str, str] = {}
    for name in names:
        value = rng.choice(events).get(name)
        if rng.random() < 0.4 and value is not None:
            filters[name] = value
    whole = Span(floor_to(span.start, length), ceil_to(span.end, length))
    return Query(metric.name, length, whole, check_dims(metric, filters, group_by), group_by)


def test_a_merged_answer_equals_a_recompute_wherever_the_cut_lies(
    corpora: dict[str, list[Corpus]], partials: Mapping[str, tuple[dict[Cell, bytes], dict[Cell, bytes]]]
) -> None:
    checked = 0
    for name, (batch, stream) in partials.items():
        metric = SHIPPED.metrics[name]
        for seed, corpus in zip(SEEDS, corpora[metric.contract], strict=True):
            rng = Random(f"{name} {seed}")
            starts = [start for _, start, _ in batch]
            times = [datetime.fromisoformat(event["timestamp"]).timestamp() for event in corpus.events]
            span = Span(floor_to(min(times), 86400), ceil_to(max(times) + 1, 86400))
            inside = [start for start in starts if span.start <= start < span.end]
            for _ in range(CUTS_PER_METRIC):
                cut = floor_to(rng.choice([*inside, span.start, span.end]), metric.granule_s)
                query = random_query(metric, corpus.events, span, rng)
                answer = merged(metric, query, cut, batch, stream)
                dims = [dim.name for dim in metric.dims if dim.name in query.dims]
                group_by = [dim for dim in dims if dim in query.group_by]
                truth = points(name, corpus.events, query.window_s, dims, query.filters)
                assert mismatches(answer["points"], truth, dims) == [], (name, seed, cut, query, group_by)
                checked += len(truth)
    assert checked > 5_000


def merged(
    metric: Metric, query: Query, cut: int, batch: Mapping[Cell, bytes], stream: Mapping[Cell, bytes]
) -> dict[str, Any]:
    """The answer when everything before `cut` is sealed; each layer is given only what it owns."""
    base = base_window(metric, query.window_s)
    publication = Publication(metric.name, metric.family, 1, cut, 0, 0, "passed", 0.0, 0, ((0, cut, 1),), {})
    cut = min(max(cut, query.span.start), query.span.end)
    sealed, moving = replace(query.span, end=cut), replace(query.span, start=cut)
    state = SpeedState(Progress(1, 1, 0.0, families={metric.family: None}), True, 0)
    return merge_answer(
        metric,
        query,
        publication,
        rows_of(batch, metric, base, sealed),
        rows_of(stream, metric, base, moving),
        state,
        (),
        now=0.0,
    )
