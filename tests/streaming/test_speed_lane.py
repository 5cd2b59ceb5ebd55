"""The speed views of one contract: what Redis holds after each way a stream can end and start again."""

import pytest

from streaming.speed_lane import SpeedLane
from tests.streaming.stage import TOTALS, Stage, access, at, metric_of
from tidemark import keys
from tidemark.errors import StaleWriter

pytestmark = pytest.mark.spark
DEV1 = "5:dev-1"


def test_every_event_is_in_each_window_that_holds_it(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"), access("b", "00:09:59.999", count=4), access("c", "00:10:00", "dev-2"))
    stage.once()
    assert stage.windows() == {
        (600, at("00:00:00"), DEV1): (5, 2),
        (600, at("00:10:00"), "5:dev-2"): (1, 1),
        (1800, at("00:00:00"), DEV1): (5, 2),
        (1800, at("00:00:00"), "5:dev-2"): (1, 1),
    }
    assert stage.accepted() == {at("00:00:00"): 1, at("00:09:00"): 1, at("00:10:00"): 1}


def test_a_repeated_id_counts_once_in_one_batch_and_in_a_later_one(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"), access("a", "00:00:00"))
    stage.once()
    stage.append(access("a", "00:00:00"), access("b", "00:01:00"))
    stage.once()
    assert stage.windows()[(600, at("00:00:00"), DEV1)] == (2, 2)


def test_broken_records_leave_their_neighbours_alone(stage: Stage) -> None:
    stage.append(b"{", access("a", "00:00:00"), b"\xff", access("b", "00:00:00", count=-1))
    stage.once()
    assert stage.windows()[(600, at("00:00:00"), DEV1)] == (1, 1)


def test_an_event_is_not_late_before_late_after_has_passed(stage: Stage) -> None:
    stage.append(access("a", "00:30:00"))
    stage.once()
    stage.append(access("b", "00:20:00", count=7))
    stage.once()
    assert stage.windows()[(600, at("00:20:00"), DEV1)] == (7, 1)
    assert stage.late() == []


def test_a_late_event_is_left_out_and_its_minute_recorded(stage: Stage) -> None:
    stage.append(access("a", "00:05:10"), access("b", "00:30:00"))
    stage.once()
    before = stage.windows()
    stage.append(access("late", "00:05:40", count=100))
    stage.once()
    assert stage.windows() == before
    assert stage.late() == [at("00:05:00")]
    assert stage.accepted() == {at("00:05:00"): 1, at("00:30:00"): 1}


def test_the_watermark_closes_what_it_has_passed_at_the_end_of_once(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"), access("b", "00:25:59"))
    stage.once()
    progress = stage.progress()
    assert progress.watermark == at("00:15:00")
    assert progress.max_event_time == at("00:25:59")
    assert progress.families == {TOTALS.family: None}
    assert progress.position == stage.source.end_position()


def test_nothing_below_the_reported_watermark_is_accepted(stage: Stage) -> None:
    stage.append(access("b", "00:25:59"))
    stage.once()
    watermark = stage.progress().watermark
    stage.append(access("below", "00:14:59.999"), access("at", "00:15:00"))
    stage.once()
    assert watermark == at("00:15:00")
    assert set(stage.accepted()) == {at("00:15:00"), at("00:25:00")}
    assert stage.late() == [at("00:14:00")]


def test_a_replayed_batch_leaves_identical_bytes(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"), access("b", "00:30:00", count=2))
    stage.once()
    stage.append(access("late", "00:03:00"), access("c", "00:31:00", count=3), access("a", "00:00:00"))
    stage.once()
    before = stage.dump()
    stage.uncommit()
    stage.once()
    assert stage.dump() == before
    stage.append(access("d", "00:31:00", count=10))
    stage.once()
    assert stage.windows()[(600, at("00:30:00"), DEV1)] == (15, 3)


def test_a_restart_goes_on_where_the_last_one_ended(stage: Stage) -> None:
    for minute in range(5):
        stage.append(access(f"e{minute}", f"00:0{minute}:00", count=minute))
        stage.once()
    assert stage.windows()[(600, at("00:00:00"), DEV1)] == (10, 5)


def test_an_added_family_leaves_the_others_state_and_is_covered_from_the_next_edge(stage: Stage) -> None:
    peak = metric_of("peak", "SELECT MAX(access_count) AS peak FROM access", ("10m", "1h"))
    stage.append(access("a", "00:05:00", count=5))
    stage.once()
    stage.append(access("b", "00:06:00", count=2))
    stage.once([TOTALS, peak])
    assert stage.windows()[(600, at("00:00:00"), DEV1)] == (7, 2)
    assert stage.windows(peak) == {(600, at("00:00:00"), ""): (2,), (3600, at("00:00:00"), ""): (2,)}
    assert stage.progress().families == {TOTALS.family: None, peak.family: at("01:00:00")}
    stage.append(access("c", "01:00:00", count=9))
    stage.once([TOTALS, peak])
    assert stage.windows(peak)[(3600, at("01:00:00"), "")] == (9,)
    assert stage.progress().families[peak.family] == at("01:00:00")


def test_a_family_that_left_and_came_back_is_not_trusted_for_what_it_missed(stage: Stage) -> None:
    stage.append(access("a", "00:05:00"))
    stage.once()
    stage.append(access("b", "00:06:00"))
    stage.once([])
    stage.append(access("c", "00:07:00"))
    stage.once()
    assert stage.progress().families == {TOTALS.family: at("00:30:00")}


def test_coverage_survives_the_loss_of_redis_but_for_windows_that_had_left_the_state(stage: Stage) -> None:
    peak = metric_of("peak", "SELECT MAX(access_count) AS peak FROM access", ("10m", "1h"))
    stage.append(access("a", "00:05:00"))
    stage.once()
    stage.append(access("b", "00:06:00"))
    stage.once([TOTALS, peak])
    views = stage.windows(), stage.windows(peak), stage.accepted()
    stage.client.flushall()
    stage.once([TOTALS, peak])
    assert (stage.windows(), stage.windows(peak), stage.accepted()) == views
    state_begins = at("23:50:00", day="2025-12-31")
    assert stage.progress().families == {TOTALS.family: state_begins, peak.family: at("01:00:00")}


def test_a_new_checkpoint_on_a_cleaned_source_is_covered_only_later(stage: Stage) -> None:
    from datetime import UTC, datetime, timedelta

    stage.append(access("a", "00:05:00"))
    names = set(stage.source.end_position()["segments"])
    now = datetime.now(UTC)
    stage.source.clean(names, 0, now + timedelta(seconds=5))  # type: ignore[attr-defined]
    stage.append(access("b", "00:06:00"))
    stage.once()
    covered = stage.progress().families[TOTALS.family]
    assert covered is not None
    assert covered >= now.timestamp() + 3600


def test_a_second_writer_fences_the_first_one_off(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"))
    old: SpeedLane = stage.once()
    new = stage.lane()
    new.prepare()
    with pytest.raises(StaleWriter):
        old._writer.write(99, [("SET", "x", "y")])
    assert stage.client.get("x") is None


def test_a_writer_notices_that_redis_was_emptied(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"))
    lane = stage.once()
    assert lane.holds_views()
    stage.client.flushall()
    assert not lane.holds_views()


def test_a_start_that_has_nothing_to_do_says_so(stage: Stage) -> None:
    assert not stage.lane().has_work()
    stage.append(access("a", "00:00:00"))
    assert stage.lane().has_work()
    stage.once()
    assert not stage.lane().has_work()
    assert stage.lane([]).has_work()
    stage.client.delete(keys.fence("access", "exact"))
    assert stage.lane().has_work()
