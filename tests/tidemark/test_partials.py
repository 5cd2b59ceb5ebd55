"""Partials: packing, merging and finalising in Python."""

import math
import random
import statistics
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from datasketches import hll_sketch, kll_doubles_sketch, tgt_hll_type
from hypothesis import given
from hypothesis import strategies as st

from tests.tidemark.definitions import compiled, measure
from tidemark.metrics.final import Partial
from tidemark.metrics.model import HLL_LG_K, KLL_K, Metric
from tidemark.metrics.state import metric_state
from tidemark.partials import PartialCodec, finalise, merge_partials

EXACT = compiled(
    "SELECT COUNT(*) AS n, SUM(amount) AS s, SUM(watts) AS d, MIN(amount) AS lo, MAX(amount) AS hi, MIN(watts) AS dlo, "
    "MAX(watts) AS dhi, STDDEV(watts) AS sd, SUM(steps) AS s2, COUNT(kind) AS k FROM events"
)
SKETCH = compiled(
    "SELECT COUNT(*) AS n, APPROX_COUNT_DISTINCT(device) AS u, APPROX_PERCENTILE(watts, 0.5) AS p FROM events"
)
INT64 = st.integers(-(2**63), 2**63 - 1)
WIDE = st.integers(-(2**94), 2**94)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(0, 2**40)
MOMENTS = st.tuples(st.integers(1, 1000), st.floats(-1e6, 1e6), st.floats(0, 1e9)) | st.just((0, 0.0, 0.0))
PARTIALS = st.tuples(
    COUNTS, st.none() | WIDE, st.none() | FLOATS, st.none() | INT64, st.none() | INT64, st.none() | FLOATS,
    st.none() | FLOATS, MOMENTS, st.none() | WIDE, COUNTS,
)  # fmt: skip


def hll(values: list[str]) -> bytes:
    sketch = hll_sketch(HLL_LG_K, tgt_hll_type.HLL_8)
    for value in values:
        sketch.update(value)
    return bytes(sketch.serialize_compact())


def kll(values: list[float]) -> bytes:
    sketch = kll_doubles_sketch(KLL_K)
    for value in values:
        sketch.update(value)
    return bytes(sketch.serialize())


@given(PARTIALS)
def test_a_partial_survives_packing(partial: Partial) -> None:
    codec = PartialCodec(EXACT)
    packed = codec.encode(partial)
    assert codec.decode(packed) == partial
    assert codec.encode(codec.decode(packed)) == packed
    assert len(packed) == codec.fixed_size


@given(st.none() | st.binary(max_size=300), st.none() | st.binary(max_size=300), COUNTS)
def test_sketches_survive_packing(one: bytes | None, other: bytes | None, count: int) -> None:
    codec = PartialCodec(SKETCH)
    assert codec.has_sketches
    assert codec.decode(codec.encode((count, one, other))) == (count, one, other)


@given(st.binary(max_size=60))
def test_foreign_bytes_are_refused_or_are_a_partial(packed: bytes) -> None:
    for metric in (EXACT, SKETCH):
        codec = PartialCodec(metric)
        try:
            partial = codec.decode(packed)
        except ValueError:
            continue
        assert len(partial) == len(metric.components)


@pytest.mark.parametrize("metric", [EXACT, SKETCH])
def test_a_cut_prolonged_or_foreign_partial_is_refused(metric: Metric) -> None:
    codec = PartialCodec(metric)
    exact = (1, 2, 3.0, 4, 5, 6.0, 7.0, (1, 2.0, 0.0), 8, 9)
    whole = codec.encode((3, hll(["a"]), kll([1.0])) if metric is SKETCH else exact)
    for wrong in (whole + b"\0", b"\2" + whole[1:], b"\1\1" + whole[2:]):
        with pytest.raises(ValueError, match="packed partial"):
            codec.decode(wrong)
    for cut in range(len(whole)):
        with pytest.raises(ValueError, match="packed partial"):
            codec.decode(whole[:cut])


def exactly(partial: Partial) -> Partial:
    """Without what floats may change: sums and moments are compared apart."""
    return tuple(value for i, value in enumerate(partial) if i not in (2, 7))


@given(st.lists(PARTIALS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_merging_is_free_of_order_and_grouping(partials: list[Partial], rng: random.Random) -> None:
    whole = merge_partials(EXACT, partials)
    shuffled = rng.sample(partials, len(partials))
    cut = rng.randint(1, len(partials))
    parts = [part for part in (shuffled[:cut], shuffled[cut:]) if part]
    nested = merge_partials(EXACT, [merge_partials(EXACT, part) for part in parts])
    assert exactly(nested) == exactly(whole)
    if isinstance(whole[2], float) and math.isfinite(whole[2]) and math.isfinite(nested[2]):
        scale = sum(abs(Fraction(p[2])) for p in partials if p[2] is not None)
        assert abs(Fraction(nested[2]) - Fraction(whole[2])) <= scale / 10**12
    assert nested[7][0] == whole[7][0]
    spread = max(abs(p[7][1]) for p in partials) + math.sqrt(max(p[7][2] for p in partials)) + 1
    assert abs(nested[7][1] - whole[7][1]) <= 1e-9 * spread
    assert nested[7][2] == pytest.approx(whole[7][2], rel=1e-6, abs=1e-6 * spread**2)


def test_an_integer_sum_is_exact_beyond_64_bits() -> None:
    metric = compiled("SELECT SUM(amount) AS s, AVG(amount) AS a FROM events")
    top = 2**63 - 1
    merged = merge_partials(metric, [(top, 1)] * 1000 + [(-5, 1)])
    assert merged == (1000 * top - 5, 1001)
    assert PartialCodec(metric).decode(PartialCodec(metric).encode(merged)) == merged
    assert finalise(metric, merged, 600) == {"s": 1000 * top - 5, "a": (1000 * top - 5) / 1001}


def test_nothing_to_merge_is_an_error_and_one_partial_is_itself() -> None:
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_partials(EXACT, [])
    only = (0, None, None, None, None, None, None, (0, 0.0, 0.0), None, 0)
    assert merge_partials(EXACT, [only]) is only
    assert merge_partials(EXACT, [only, only]) == only
    assert finalise(EXACT, only, 600) == {
        "n": 0, "s": None, "d": None, "lo": None, "hi": None, "dlo": None, "dhi": None, "sd": None, "s2": None, "k": 0,
    }  # fmt: skip


def test_a_sum_beyond_doubles_is_null_not_a_crash() -> None:
    metric = measure("SUM(watts)")
    assert finalise(metric, merge_partials(metric, [(1e308,)] * 3), 600) == {"v": None}
    assert finalise(metric, merge_partials(metric, [(math.inf,), (-math.inf,)]), 600) == {"v": None}


def moments(values: list[float]) -> tuple[int, float, float]:
    mean = statistics.fmean(values)
    return len(values), mean, float(sum((Fraction(v) - Fraction(mean)) ** 2 for v in values))


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (1e6, 1.0), (-1e5, 3e-2), (1e9, 1.0), (1e12, 1e-1), (-5e7, 3e-4)])
def test_spread_is_right_even_when_the_mean_dwarfs_it(mean: float, sd: float) -> None:
    rng = random.Random(5)
    values = [rng.gauss(mean, sd) for _ in range(3000)]
    metric = compiled(
        "SELECT STDDEV(watts) AS a, STDDEV_POP(watts) AS b, VARIANCE(watts) AS c, VAR_POP(watts) AS d FROM events"
    )
    chunks = [values[i : i + 37] for i in range(0, len(values), 37)]
    merged = merge_partials(metric, [(moments(chunk),) for chunk in chunks] + [((0, 0.0, 0.0),)])
    exact = [Fraction(value) for value in values]
    expected = {
        "a": math.sqrt(statistics.variance(exact)), "b": math.sqrt(statistics.pvariance(exact)),
        "c": float(statistics.variance(exact)), "d": float(statistics.pvariance(exact)),
    }  # fmt: skip
    # The mean of a chunk is a double, too: its rounding, against the spread, is what no merge can give back.
    floor = math.ulp(mean) / sd
    for name, value in finalise(metric, merged, 600).items():
        assert value == pytest.approx(expected[name], rel=1e-9 + floor)


def test_one_value_has_no_sample_spread() -> None:
    metric = compiled("SELECT STDDEV(watts) AS a, VAR_POP(watts) AS b FROM events")
    assert finalise(metric, ((1, 7.0, 0.0),), 600) == {"a": None, "b": 0.0}


def test_distinct_counts_merge_within_their_error() -> None:
    metric = measure("APPROX_COUNT_DISTINCT(device)")
    partials = [(hll([f"u{i}" for i in range(start, start + 8000)]),) for start in range(0, 40_000, 4000)]
    merged = merge_partials(metric, partials)
    assert finalise(metric, merged, 600)["v"] == pytest.approx(44_000, rel=0.02)
    backwards = merge_partials(metric, partials[::-1])
    assert finalise(metric, backwards, 600)["v"] == pytest.approx(finalise(metric, merged, 600)["v"], rel=0.01)
    assert finalise(metric, (None,), 600) == {"v": 0}
    few = merge_partials(metric, [(hll(["a", "b"]),), (hll(["b", "c"]),), (None,)])
    assert finalise(metric, few, 600) == {"v": 3}


def test_quantiles_merge_within_their_error_of_rank() -> None:
    metric = compiled("SELECT APPROX_PERCENTILE(watts, 0.5) AS p50, APPROX_PERCENTILE(watts, 0.95) AS p95 FROM events")
    rng = random.Random(3)
    values = [rng.lognormvariate(3, 1) for _ in range(40_000)]
    merged = merge_partials(metric, [(kll(values[i : i + 1000]),) for i in range(0, len(values), 1000)] + [(None,)])
    assert len(merged) == 1, "both quantiles share one sketch"
    ordered = sorted(values)
    for name, rank in (("p50", 0.5), ("p95", 0.95)):
        value = finalise(metric, merged, 600)[name]
        assert abs(sum(v <= value for v in ordered) / len(ordered) - rank) < 0.015
    assert finalise(metric, (None,), 600) == {"p50": None, "p95": None}
    assert finalise(metric, (kll([]),), 600) == {"p50": None, "p95": None}
    small = (kll([1.0, 2.0, 3.0, 4.0]),)
    assert finalise(metric, small, 600) == {"p50": 2.0, "p95": 4.0}
    whole = measure("APPROX_PERCENTILE(amount, 0.5)")
    assert finalise(whole, small, 600) == {"v": 2}
    assert isinstance(finalise(whole, small, 600)["v"], int)


def state_frame(metric: Metric, partials: list[Partial]) -> dict[str, pa.Array]:
    """The state columns that Spark would hand over for these partials."""
    rows: list[dict[str, Any]] = []
    for partial in partials:
        row: dict[str, Any] = {}
        for i, (component, value) in enumerate(zip(metric.components, partial, strict=True)):
            names = [column.name for column in metric_state(metric) if column.name.startswith(f"c{i}_")]
            if component.kind == "sum_int":
                halves = (None, None) if value is None else (value >> 32, value & 0xFFFFFFFF)
                row |= dict(zip(names, halves, strict=True))
            elif component.kind == "moments":
                n, mean, m2 = value
                row |= dict(zip(names, (n, mean, m2 / n) if n else (0, None, None), strict=True))
            else:
                row[names[0]] = value
        rows.append(row)
    types = {"bigint": pa.int64(), "double": pa.float64(), "binary": pa.binary()}
    return {
        column.name: pa.array([row[column.name] for row in rows], types[column.spark_type])
        for column in metric_state(metric)
    }


@given(st.lists(PARTIALS, min_size=1, max_size=5))
def test_packing_columns_gives_the_bytes_of_packing_one_by_one(partials: list[Partial]) -> None:
    codec = PartialCodec(EXACT)
    # A variance of few digits, so that times n and divided by n again it is the same double.
    partials = [(*p[:7], (p[7][0], p[7][1], float(p[7][2] // 1e7 * p[7][0])), *p[8:]) for p in partials]
    frame = state_frame(EXACT, partials)
    assert codec.encode_columns(frame) == [codec.encode(partial) for partial in partials]
    chunked = {name: pa.chunked_array([column, column]) for name, column in frame.items()}
    assert codec.encode_columns(chunked) == [codec.encode(partial) for partial in partials] * 2


def test_packing_columns_carries_the_low_half_over() -> None:
    metric = measure("SUM(amount)")
    frame = {"c0_hi": pa.array([-3]), "c0_lo": pa.array([5 * 2**32 + 7])}
    assert PartialCodec(metric).encode_columns(frame) == [PartialCodec(metric).encode((2 * 2**32 + 7,))]


def test_packing_columns_keeps_sketches_and_their_absence() -> None:
    codec = PartialCodec(SKETCH)
    partials = [(1, hll(["a"]), kll([1.0])), (2, None, kll([])), (3, hll([]), None)]
    assert codec.encode_columns(state_frame(SKETCH, partials)) == [codec.encode(partial) for partial in partials]


def test_packing_no_rows_gives_none() -> None:
    assert PartialCodec(EXACT).encode_columns(state_frame(EXACT, [])) == []


FINAL = [
    ("SUM(amount) + 1", (2**63 - 1,), None), ("SUM(amount) - 1", (-(2**63),), None),
    ("SUM(amount) * 2", (2**62,), None),
    ("SUM(amount) % 7", (-(2**60) - 1,), -((2**60 + 1) % 7)), ("SUM(amount) % 0", (5,), None),
    ("SUM(watts) % 0.4", (1.0,), math.fmod(1.0, 0.4)), ("SUM(watts) % 0", (1.0,), None),
    ("SUM(amount) / 0", (5,), None), ("SUM(amount) / 2", (5,), 2.5), ("SUM(amount) / 2", (None,), None),
    ("ABS(SUM(amount))", (-(2**63),), None), ("ABS(SUM(watts))", (-1.5,), 1.5), ("ABS(SUM(amount))", (-4,), 4),
    ("ROUND(SUM(watts), 2)", (2.675,), 2.68), ("ROUND(SUM(watts), 15)", (1e300,), 1e300),
    ("ROUND(SUM(watts))", (-2.5,), -3.0),
    ("ROUND(SUM(watts), 1)", (math.inf,), None), ("ROUND(SUM(amount), 2)", (7,), 7),
    ("SQRT(SUM(watts))", (-1.0,), None), ("SQRT(SUM(watts))", (9.0,), 3.0),
    ("CAST(SUM(watts) AS BIGINT)", (-1.9,), -1), ("CAST(SUM(watts) AS BIGINT)", (1e300,), None),
    ("CAST(SUM(watts) AS BIGINT)", (math.nan,), None), ("CAST(SUM(watts) AS BIGINT)", (math.inf,), None),
    ("SUM(watts) * 10", (1e308,), None), ("-SUM(amount)", (3,), -3), ("-SUM(watts)", (3.5,), -3.5),
    ("COALESCE(SUM(amount), 0)", (None,), 0), ("NULLIF(SUM(amount), 3)", (3,), None),
    ("NULLIF(SUM(amount), 3)", (4,), 4),
    ("GREATEST(SUM(amount), 3)", (None,), 3), ("LEAST(SUM(amount), 3)", (-1,), -1),
    ("IF(SUM(amount) > 3, 'a', 'b')", (None,), "b"), ("IF(SUM(amount) > 3, 'a', 'b')", (4,), "a"),
    ("SUM(amount) > 3 AND SUM(amount) IS NOT NULL", (None,), False), ("SUM(amount) > 3 AND TRUE", (None,), None),
    ("SUM(amount) > 3 OR TRUE", (None,), True), ("SUM(amount) > 3 OR FALSE", (None,), None),
    ("NOT SUM(amount) <= 3", (3,), False), ("SUM(amount) >= 3 AND SUM(amount) < 4 AND SUM(amount) <> 5", (3,), True),
    ("CASE SUM(amount) WHEN 1 THEN 'one' WHEN 2 THEN 'two' END", (2,), "two"),
    ("CASE SUM(amount) WHEN 1 THEN 'one' END", (3,), None), ("IF(SUM(amount) IS NULL, NULL, 1.5)", (None,), None),
    ("SUM(price)", (12345,), 1.2345), ("MAX(price)", (-10000,), -1.0), ("MAX(price)", (None,), None),
    ("SUM(watts) * WINDOW_HOURS()", (3.0,), 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "partial", "expected"), FINAL)
def test_finalise_follows_sql(expression: str, partial: Partial, expected: object) -> None:
    value = finalise(measure(expression), partial, 600)["v"]
    assert value == expected
    assert type(value) is type(expected)
