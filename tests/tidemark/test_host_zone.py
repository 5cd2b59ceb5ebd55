"""Windows do not know the host's zone: around changes of its offset, and on leap days, they tile UTC without a seam."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tidemark.windows import WINDOWS, Span, ceil_to, floor_to, iso, parse_instant, starts, widen

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia")
DAYS = {
    "spring in Berlin": "2025-03-30",
    "autumn in Berlin": "2025-10-26",
    "half an hour in Lord Howe": "2025-04-05",
    "the day that Apia left out": "2011-12-30",
    "leap day": "2024-02-29",
    "no leap day": "2100-02-28",
    "leap second": "2016-12-31",
}


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The host's zone, as the process sees it."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("day", DAYS.values(), ids=DAYS)
def test_every_window_length_tiles_the_day(zone: str, day: str) -> None:
    midnight = datetime.fromisoformat(day).replace(tzinfo=UTC)
    first = int(parse_instant(f"{day}T00:00:00Z", "day").timestamp())
    assert first == (midnight - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    assert iso(first + 86_400) == (midnight + timedelta(days=1)).strftime("%Y-%m-%dT00:00:00Z")
    for length in WINDOWS.values():
        edges = starts(Span(first, first + 86_400), length)
        assert len(edges) * length == 86_400
        assert all(parse_instant(iso(edge), "edge").timestamp() == edge for edge in edges)


@pytest.mark.parametrize("day", DAYS.values(), ids=DAYS)
@pytest.mark.parametrize("length", WINDOWS.values(), ids=WINDOWS)
def test_an_edge_belongs_to_the_window_that_it_begins(zone: str, day: str, length: int) -> None:
    noon = int(parse_instant(f"{day}T12:00:00Z", "noon").timestamp())
    edge = floor_to(noon, length)
    just_before = parse_instant(iso(datetime.fromtimestamp(edge, UTC) - timedelta(microseconds=1)), "before")
    assert floor_to(just_before.timestamp(), length) == edge - length
    assert floor_to(edge, length) == ceil_to(edge, length) == edge
    assert widen(Span(edge, edge + 1), length) == Span(edge, edge + length)


def test_both_passes_of_the_hour_that_comes_twice_are_different_hours(zone: str) -> None:
    """02:30 in Berlin, in summer time and an hour later in winter time."""
    first, second = (parse_instant(f"2025-10-26T02:30:00+0{offset}:00", "at").timestamp() for offset in (2, 1))
    assert second - first == 3600
    assert floor_to(first, 3600) != floor_to(second, 3600)
