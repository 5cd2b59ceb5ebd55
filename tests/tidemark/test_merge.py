"""Answers: both layers' partials, merged, rolled up, filtered, ranked, and labelled."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tidemark.definitions import compiled
from tidemark.coverage import Missing, Reason, SpeedState
from tidemark.dims import encode_dims
from tidemark.errors import QueryError
from tidemark.merge import Query, base_window, check_dims, merge_answer, split
from tidemark.points import Row
from tidemark.progress import Progress
from tidemark.publication import Publication
from tidemark.windows import Span

METRIC = compiled(
    "SELECT device, kind, AVG(amount) AS mean, COUNT(*) AS n, MAX(at) AS last FROM events GROUP BY device, kind"
)
M = 60
NOW = 10_000.0


def sealed(through: int, version: int = 3) -> Publication:
    return Publication("m", METRIC.family, version, through, 1, 1, "passed", 0.0, 0, ((0, through, version),), {})


def row(start: int, device: str, kind: str | None, total: int | None, count: int, last: int = 0) -> Row:
    """SUM, COUNT of amounts, COUNT(*), MAX(at) in microseconds."""
    present = 0 if total is None else count
    return Row(start, encode_dims([device, kind]), (total, present, count, last))


def query(start: int = 0, end: int = 60 * M, window_s: int = 10 * M, **more: Any) -> Query:
    return Query("m", window_s, Span(start, end), **more)


def answer(asked: Query, publication: Publication | None = None, batch: Any = (), speed: Any = (), **more: Any) -> Any:
    state = more.get("state", SpeedState(Progress(1, 1, NOW - 1.25, 40 * M), True, 0))
    return merge_answer(METRIC, asked, publication, batch, speed, state, more.get("missing", ()), NOW)


def brief(document: Any, *names: str) -> list[Any]:
    return [
        (p["start"][11:16], *p["dims"].values(), *(p["values"][n] for n in names or ("n",)), p["layer"], p["state"])
        for p in document["points"]
    ]


def test_the_components_of_the_metric_under_test() -> None:
    assert [component.kind for component in METRIC.components] == ["sum_int", "count", "count", "max_int"]


BATCH = [row(0, "a", "x", 10, 2), row(0, "b", "x", 2, 1), row(10 * M, "a", "y", None, 1)]
SPEED = [
    row(20 * M, "a", "x", 5, 1), row(30 * M, "a", "x", 7, 1), row(30 * M, "a", None, 1, 1), row(40 * M, "b", "x", 1, 1),
]  # fmt: skip


def test_layers_and_states_follow_sealed_through_and_the_watermark() -> None:
    assert brief(answer(query(), sealed(20 * M), BATCH, SPEED)) == [
        ("00:00", 3, "batch", "sealed"), ("00:10", 1, "batch", "sealed"), ("00:20", 1, "speed", "closed"),
        ("00:30", 2, "speed", "closed"), ("00:40", 1, "speed", "open"),
    ]  # fmt: skip


def test_dimensions_not_asked_for_are_rolled_up() -> None:
    assert brief(answer(query(end=10 * M, group_by=("device",)), sealed(20 * M), BATCH), "mean", "n") == [
        ("00:00", "a", 5.0, 2, "batch", "sealed"), ("00:00", "b", 2.0, 1, "batch", "sealed"),
    ]  # fmt: skip
    assert brief(answer(query(end=10 * M), sealed(20 * M), BATCH), "mean") == [("00:00", 4.0, "batch", "sealed")]


def test_a_filter_keeps_only_its_value_and_shows_it() -> None:
    document = answer(query(filters={"device": "a"}, group_by=("kind",)), sealed(20 * M), BATCH, SPEED)
    assert document["dims"] == {"device": "a"}
    assert document["group_by"] == ["device", "kind"]
    assert brief(document) == [
        ("00:00", "a", "x", 2, "batch", "sealed"), ("00:10", "a", "y", 1, "batch", "sealed"),
        ("00:20", "a", "x", 1, "speed", "closed"), ("00:30", "a", None, 1, "speed", "closed"),
        ("00:30", "a", "x", 1, "speed", "closed"),
    ]  # fmt: skip
    assert answer(query(filters={"device": "nobody"}), sealed(20 * M), BATCH, SPEED)["points"] == []


def test_null_is_a_group_of_its_own_and_not_the_empty_text() -> None:
    rows = [row(0, "a", None, 1, 1), row(0, "a", "", 1, 2)]
    assert brief(answer(query(group_by=("kind",)), None, (), rows)) == [
        ("00:00", None, 1, "speed", "closed"), ("00:00", "", 2, "speed", "closed"),
    ]  # fmt: skip


def test_a_composed_window_that_straddles_the_boundary_merges_both_layers() -> None:
    document = answer(query(end=120 * M, window_s=60 * M), sealed(20 * M), BATCH, [*SPEED, row(60 * M, "a", "x", 1, 1)])
    assert brief(document) == [("00:00", 8, "speed", "open"), ("01:00", 1, "speed", "open")]
    document = answer(query(end=120 * M, window_s=60 * M), sealed(60 * M), [*BATCH, *SPEED])
    assert brief(document) == [("00:00", 8, "batch", "sealed")]


def test_an_over_fetched_row_is_never_counted_in_both_layers() -> None:
    every = [*BATCH, *SPEED]
    assert answer(query(), sealed(20 * M), every, every) == answer(query(), sealed(20 * M), BATCH, SPEED)
    outside = [row(-10 * M, "a", "x", 1, 1), row(60 * M, "a", "x", 1, 1)]
    assert answer(query(), sealed(20 * M), [*BATCH, *outside], [*SPEED, *outside]) == answer(
        query(), sealed(20 * M), BATCH, SPEED
    )


def test_groups_are_ranked_by_the_measure_over_the_whole_range() -> None:
    rows = [row(0, "a", "x", 1, 5), row(0, "b", "x", 90, 3), row(10 * M, "b", "x", 10, 3), row(0, "c", "x", None, 6)]
    every = query(group_by=("device",))
    assert [p["dims"]["device"] for p in answer(every, None, (), rows)["points"]] == ["a", "b", "c", "b"]

    def ranked(**more: Any) -> list[str]:
        asked = query(group_by=("device",), **more)
        return [p["start"][14:16] + p["dims"]["device"] for p in answer(asked, None, (), rows)["points"]]

    assert ranked(order_by="n") == ["00a", "00b", "00c", "10b"], "a has 5, b has 6, c has 6: ties by name"
    assert ranked(order_by="-n") == ["00b", "00c", "00a", "10b"]
    assert ranked(top=1, order_by="-n") == ["00b", "10b"]
    assert ranked(top=2, order_by="mean") == ["00a", "00b", "10b"]
    assert ranked(top=1) == ["00b", "10b"], "without order_by: the first measure, greatest first"
    assert ranked(order_by="-mean") == ["00b", "00a", "00c", "10b"], "groups without a value come last"
    assert ranked(top=9, order_by="mean") == ["00a", "00b", "00c", "10b"]


@pytest.mark.parametrize("reason", list(Reason))
def test_a_point_without_even_a_lower_bound_is_left_out(reason: Reason) -> None:
    missing = (Missing(Span(20 * M, 30 * M), reason),)
    document = answer(query(), sealed(20 * M), BATCH, SPEED, missing=missing)
    untrusted = reason not in (Reason.SPEED_STOPPED, Reason.SPEED_STALE, Reason.LATE)
    assert ("00:20" in [point[0] for point in brief(document)]) != untrusted
    assert len(document["points"]) == (4 if untrusted else 5)
    assert document["complete"] is False
    assert document["missing"] == [
        {"from": "1970-01-01T00:20:00Z", "to": "1970-01-01T00:30:00Z", "reason": reason.value}
    ]


def test_a_composed_window_with_an_untrusted_part_is_left_out_whole() -> None:
    missing = (Missing(Span(20 * M, 30 * M), Reason.NOT_COVERED),)
    asked = query(end=120 * M, window_s=60 * M)
    document = answer(asked, sealed(20 * M), BATCH, [*SPEED, row(60 * M, "a", "x", 1, 1)], missing=missing)
    assert [point[0] for point in brief(document)] == ["01:00"]


def test_the_document_says_where_it_comes_from() -> None:
    document = answer(query(end=10 * M), sealed(20 * M), [row(0, "a", "x", 3, 1, 1_767_225_600_000_001)])
    assert document["points"][0] == {
        "start": "1970-01-01T00:00:00Z", "end": "1970-01-01T00:10:00Z", "dims": {},
        "values": {"mean": 3.0, "n": 1, "last": "2026-01-01T00:00:00.000001Z"}, "layer": "batch", "state": "sealed",
    }  # fmt: skip
    assert {name: value for name, value in document.items() if name != "points"} == {
        "metric": "m", "window": "10m", "from": "1970-01-01T00:00:00Z", "to": "1970-01-01T00:10:00Z", "dims": {},
        "group_by": [], "sealed_through": "1970-01-01T00:20:00Z", "batch_version": 3,
        "speed_as_of": "1970-01-01T02:46:38.750000Z", "watermark": "1970-01-01T00:40:00Z", "freshness_seconds": 1.25,
        "complete": True, "missing": [],
    }  # fmt: skip


def test_without_batch_and_speed_the_document_says_so() -> None:
    document = answer(query(), state=None)
    names = ("sealed_through", "batch_version", "speed_as_of", "watermark", "freshness_seconds")
    assert [document[name] for name in names] == [None] * 5
    assert document["points"] == []
    unstarted = answer(query(), state=SpeedState(Progress(1, 0, NOW + 5, None), True, 0), speed=SPEED)
    assert unstarted["watermark"] is None
    assert unstarted["freshness_seconds"] == 0, "a clock that runs ahead is not negative freshness"
    assert {point["state"] for point in unstarted["points"]} == {"open"}


KINDS = st.sampled_from([None, "x", "y"])
EVENTS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab"), KINDS, st.integers(-9, 9)))
LENGTHS = st.sampled_from([10 * M, 30 * M, 60 * M])


@given(EVENTS, st.integers(0, 6), LENGTHS, st.sampled_from([(), ("device",), ("kind",)]))
def test_any_cut_between_the_layers_gives_the_same_numbers(
    events: list[tuple[int, str, str | None, int]], cut: int, window_s: int, group_by: tuple[str, ...]
) -> None:
    rows = [row(i * 10 * M, device, kind, amount, 1) for i, device, kind, amount in events]
    expected: dict[Any, list[int]] = {}
    for i, device, kind, amount in events:
        key = (i * 10 * M // window_s * window_s, *({"device": device, "kind": kind}[name] for name in group_by))
        expected.setdefault(key, []).append(amount)
    document = answer(query(window_s=window_s, group_by=group_by), sealed(cut * 10 * M), rows, rows)
    found = {
        (int(p["start"][14:16]) * M, *p["dims"].values()): (p["values"]["mean"], p["values"]["n"])
        for p in document["points"]
    }
    assert found == {key: (sum(amounts) / len(amounts), len(amounts)) for key, amounts in expected.items()}


def test_the_longest_declared_window_that_divides_the_asked_one_is_read() -> None:
    assert base_window(METRIC, 600) == 600
    assert base_window(METRIC, 1800) == base_window(METRIC, 3600) == base_window(METRIC, 86400) == 1800
    for wrong in (60, 300, 1200):
        with pytest.raises(QueryError, match="window: m has 10m, 30m; an asked window must be a multiple"):
            base_window(METRIC, wrong)


def test_a_range_is_cut_at_sealed_through() -> None:
    span = Span(10, 20)
    assert split(span, None) == (Span(10, 10), span)
    assert split(span, sealed(5)) == (Span(10, 10), span)
    assert split(span, sealed(15)) == (Span(10, 15), Span(15, 20))
    assert split(span, sealed(25)) == (span, Span(20, 20))


def test_unknown_dimensions_are_refused_by_parameter() -> None:
    assert check_dims(METRIC, {"device": "a"}, ["kind"]) == {"device": "a"}
    with pytest.raises(QueryError, match=r"^group_by: m has no dimension 'x'; it has device, kind$"):
        check_dims(METRIC, {}, ["x"])
    with pytest.raises(QueryError, match=r"^dim: m has no dimension 'x'; it has device, kind$"):
        check_dims(METRIC, {"x": "1"}, [])
    with pytest.raises(QueryError, match=r"it has none$"):
        check_dims(compiled("SELECT COUNT(*) AS n FROM events"), {"x": "1"}, [])
