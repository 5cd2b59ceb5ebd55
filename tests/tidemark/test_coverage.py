"""What an answer misses, and why: one row a situation."""

from typing import Any

import pytest

from tests.tidemark.definitions import compiled
from tidemark.coverage import Missing, Reason, SpeedState, find_missing
from tidemark.progress import Progress
from tidemark.publication import Publication
from tidemark.windows import Span

METRIC = compiled("SELECT COUNT(*) AS n FROM events")
BATCH_ONLY = compiled("SELECT COUNT(*) AS n FROM events", batch_only=True)
H = 3600
DAY = Span(0, 24 * H)
NOW = 1_000_000.0


def sealed(through: int, kept_from: int | None = None) -> Publication:
    return Publication("m", METRIC.family, 1, through, 1, 1, "passed", 0.0, 0, ((0, through, 1),), {}, kept_from)


def speed(
    covered_from: int | None = None, *, watermark: int | None = 20 * H, alive: bool = True, backlog: int | None = 0,
    age_s: float = 1.0, late: tuple[int, ...] = (), family: str = METRIC.family,
    failed: dict[str, str] | None = None,
) -> SpeedState:  # fmt: skip
    progress = Progress(1, 1, NOW - age_s, watermark, None, {}, {family: covered_from}, {}, failed or {})
    return SpeedState(progress, alive, backlog, late)


def gap(start: int, end: int, reason: Reason) -> Missing:
    return Missing(Span(start, end), reason)


CASES: list[tuple[str, Publication | None, SpeedState | None, tuple[Missing, ...]]] = [
    ("speed alone, from the beginning", None, speed(), ()),
    ("both layers", sealed(12 * H), speed(12 * H), ()),
    ("they overlap", sealed(12 * H), speed(6 * H), ()),
    ("batch covers all", sealed(24 * H), None, ()),
    ("batch covers more than asked", sealed(48 * H), speed(50 * H), ()),
    ("a hole between them", sealed(6 * H), speed(9 * H), (gap(6 * H, 9 * H, Reason.NOT_COVERED),)),
    ("speed began after the range", sealed(6 * H), speed(90 * H), (gap(6 * H, 24 * H, Reason.NOT_COVERED),)),
    ("speed began late, no batch", None, speed(9 * H), (gap(0, 9 * H, Reason.NOT_COVERED),)),
    ("a new family", sealed(6 * H), speed(family="other@1"), (gap(6 * H, 24 * H, Reason.NOT_COVERED),)),
    ("Redis is down", sealed(6 * H), None, (gap(6 * H, 24 * H, Reason.SPEED_UNAVAILABLE),)),
    ("Redis is down, no batch", None, None, (gap(0, 24 * H, Reason.SPEED_UNAVAILABLE),)),
    ("Redis was lost", sealed(6 * H), SpeedState(None, False, 0), (gap(6 * H, 24 * H, Reason.SPEED_UNAVAILABLE),)),
    ("nothing was read yet", None, SpeedState(None, False, 7), (gap(0, 24 * H, Reason.SPEED_UNAVAILABLE),)),
    ("nothing ever came", None, SpeedState(None, False, 0), ()),
    ("after stream --once, all read", sealed(6 * H), speed(alive=False, age_s=9e5), ()),
    ("stopped, and records wait", sealed(6 * H), speed(alive=False, backlog=3),
     (gap(20 * H, 24 * H, Reason.SPEED_STOPPED),)),
    ("stopped, backlog unknown", sealed(6 * H), speed(alive=False, backlog=None),
     (gap(20 * H, 24 * H, Reason.SPEED_STOPPED),)),
    ("stopped before the first event", sealed(6 * H), speed(alive=False, backlog=3, watermark=None),
     (gap(6 * H, 24 * H, Reason.SPEED_STOPPED),)),
    ("stopped, watermark inside a window", None, speed(alive=False, backlog=3, watermark=20 * H + 599),
     (gap(20 * H, 24 * H, Reason.SPEED_STOPPED),)),
    ("stopped, watermark below what batch has", sealed(22 * H), speed(alive=False, backlog=3),
     (gap(22 * H, 24 * H, Reason.SPEED_STOPPED),)),
    ("stopped, but the range is closed", None, speed(alive=False, backlog=3, watermark=25 * H), ()),
    ("set aside by the stream", sealed(6 * H), speed(failed={METRIC.name: "it fails"}),
     (gap(6 * H, 24 * H, Reason.METRIC_FAILED),)),
    ("another one is set aside", sealed(6 * H), speed(failed={"other": "it fails"}), ()),
    ("alive and quick", sealed(6 * H), speed(backlog=5000, age_s=2.0), ()),
    ("alive and behind", sealed(6 * H), speed(backlog=5000, age_s=61.0), (gap(20 * H, 24 * H, Reason.SPEED_STALE),)),
    ("alive, old and idle", sealed(6 * H), speed(backlog=0, age_s=9e5), ()),
    ("late events", sealed(6 * H), speed(late=(7 * H, 7 * H + 60, 7 * H + 600, 9 * H)),
     (gap(7 * H, 7 * H + 1200, Reason.LATE), gap(9 * H, 9 * H + 600, Reason.LATE))),
    ("late events that batch has sealed since", sealed(8 * H), speed(late=(7 * H,)), ()),
    ("deleted after cold", sealed(24 * H, 5 * H), None, (gap(0, 5 * H, Reason.EXPIRED),)),
    ("deleted long before the range", sealed(24 * H, -H), None, ()),
    ("the range is deleted as a whole", sealed(48 * H, 48 * H), None, (gap(0, 24 * H, Reason.EXPIRED),)),
    ("deleted after cold, and Redis is down", sealed(6 * H, 5 * H), None,
     (gap(0, 5 * H, Reason.EXPIRED), gap(6 * H, 24 * H, Reason.SPEED_UNAVAILABLE))),
    ("late events outside the range", None, speed(late=(-60, 24 * H)), ()),
]  # fmt: skip


@pytest.mark.parametrize(("publication", "state", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_what_no_layer_covers_is_named(publication: Any, state: Any, expected: tuple[Missing, ...]) -> None:
    assert find_missing(METRIC, publication, state, DAY, 600, NOW, 60) == expected


def test_every_reason_has_its_situation() -> None:
    assert {missing.reason for case in CASES for missing in case[3]} | {Reason.BATCH_ONLY} == set(Reason)


def test_a_batch_only_metric_ends_where_batch_ends() -> None:
    assert find_missing(BATCH_ONLY, sealed(6 * H), speed(), DAY, 600, NOW, 60) == (
        gap(6 * H, 24 * H, Reason.BATCH_ONLY),
    )
    assert find_missing(BATCH_ONLY, sealed(24 * H), None, DAY, 600, NOW, 60) == ()


def test_several_reasons_are_all_named() -> None:
    state = speed(9 * H, alive=False, backlog=1, late=(10 * H,))
    assert find_missing(METRIC, sealed(6 * H), state, DAY, 3600, NOW, 60) == (
        gap(6 * H, 9 * H, Reason.NOT_COVERED), gap(20 * H, 24 * H, Reason.SPEED_STOPPED),
        gap(10 * H, 11 * H, Reason.LATE),
    )  # fmt: skip


def test_a_late_event_in_a_composed_window_names_only_what_speed_owns() -> None:
    state = speed(late=(11 * H + 1800,))
    assert find_missing(METRIC, sealed(11 * H), state, Span(0, 24 * H), 86400, NOW, 60) == (
        gap(11 * H, 24 * H, Reason.LATE),
    )
