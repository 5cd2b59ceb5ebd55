"""Edges of windows, before the epoch too, and instants as text."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.errors import UserError
from tidemark.windows import (
    WINDOWS,
    Span,
    ceil_to,
    coalesce,
    epoch_seconds,
    floor_to,
    iso,
    iso_micros,
    parse_instant,
    starts,
    to_micros,
    widen,
    window_name,
    window_seconds,
)

LENGTHS = st.sampled_from(list(WINDOWS.values()))


@given(st.integers(-(10**11), 10**11), LENGTHS)
def test_every_second_lies_in_exactly_one_window(instant: int, length: int) -> None:
    start = floor_to(instant, length)
    assert start % length == 0
    assert start <= instant < start + length
    assert ceil_to(instant, length) in (start, start + length)
    assert (ceil_to(instant, length) == instant) == (start == instant)


def test_an_edge_belongs_to_the_window_that_it_starts() -> None:
    assert floor_to(600, 600) == ceil_to(600, 600) == 600
    assert floor_to(599.999999, 600) == 0
    assert ceil_to(600.000001, 600) == 1200
    assert floor_to(-0.5, 600) == -600
    assert ceil_to(-600, 600) == -600


def test_a_leap_day_has_its_windows() -> None:
    noon = int(parse_instant("2028-02-29T12:34:56Z", "at").timestamp())
    assert iso(floor_to(noon, 86400)) == "2028-02-29T00:00:00Z"
    assert iso(ceil_to(noon, 86400)) == "2028-03-01T00:00:00Z"


def test_names_and_seconds_agree() -> None:
    assert all(window_name(window_seconds(name)) == name for name in WINDOWS)
    with pytest.raises(UserError, match="unknown window '2m'; known: 1m, 5m"):
        window_seconds("2m")


def test_a_range_is_widened_to_whole_windows() -> None:
    span = widen(Span(-1, 601), 600)
    assert span == Span(-600, 1200)
    assert list(starts(span, 600)) == [-600, 0, 600]
    assert widen(Span(0, 600), 600) == Span(0, 600)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T01:30+01:30", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2025-12-31T19:00:00.5-0500", datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC)),
        ("2025-12-31T23:00-01", datetime(2026, 1, 1, tzinfo=UTC)),
        ("1969-12-31T23:59:59.999999Z", datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_an_instant_has_a_zone_and_becomes_utc(text: str, expected: datetime) -> None:
    assert parse_instant(text, "from") == expected
    assert parse_instant(text, "from").tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00z", "1767225600",
        "2023-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00Z\n", "0001-01-01T00:00:00+10:00",
        "2026-01-01T00:00:00+25:00", "２026-01-01T00:00:00Z", "now",
    ],
)  # fmt: skip
def test_what_is_no_instant_is_refused_by_the_name_of_its_parameter(text: str) -> None:
    with pytest.raises(UserError, match=r"^from: .* is not an ISO 8601 instant with a zone"):
        parse_instant(text, "from")


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_survive_in_every_century(moment: datetime) -> None:
    assert iso_micros(to_micros(moment)) == iso(moment)
    assert parse_instant(iso(moment), "at") == moment


def test_an_instant_shows_fractions_only_where_there_are_any() -> None:
    assert iso(0) == "1970-01-01T00:00:00Z"
    assert iso(1.5) == "1970-01-01T00:00:01.500000Z"
    assert iso(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == "2026-01-01T00:00:00Z"
    assert iso_micros(-1) == "1969-12-31T23:59:59.999999Z"
    assert epoch_seconds(datetime(1970, 1, 2, tzinfo=UTC)) == 86400


SPANS = st.lists(st.builds(Span, st.integers(-20, 20), st.integers(-20, 20)))


@given(SPANS)
def test_coalesced_spans_are_the_same_set_sorted_and_apart(spans: list[Span]) -> None:
    result = list(coalesce(spans))
    assert {x for s in spans for x in range(s.start, s.end)} == {x for s in result for x in range(s.start, s.end)}
    assert all(before.end < after.start for before, after in pairwise(result))
    assert not any(span.is_empty for span in result)
