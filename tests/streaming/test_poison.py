"""Which metric a query fails for, and what the others get."""

from collections.abc import Iterator

import pytest

from streaming.speed_lane import SpeedLane
from tests.faults.leaky_compiler import open_hole
from tests.streaming.stage import TOTALS, Stage, access, at, drain, metric_of
from tidemark.metrics import expressions
from tidemark.metrics.model import Metric

pytestmark = pytest.mark.spark
DEV1 = "5:dev-1"


@pytest.fixture(autouse=True)
def _hole(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(expressions, "_HANDLERS", dict(expressions._HANDLERS))
    open_hole()
    return


def poison(function: str = "RAISE", aggregate: str = "SUM") -> Metric:
    return metric_of("poison", f"SELECT {aggregate}({function}(access_count)) AS n FROM access")


def fails(lane: SpeedLane) -> BaseException:
    """What a lane fails with, at its start or in its first batch."""
    try:
        lane.start(once=True)
        drain(lane)
    except Exception as error:  # noqa: BLE001  whatever Spark raises
        return error
    pytest.fail("the lane did not fail")


@pytest.mark.parametrize("function", ["RAISE", "UNKNOWN"])
def test_the_guilty_metric_is_left_out_and_the_others_are_exact(stage: Stage, function: str) -> None:
    stage.append(access("a", "00:00:00"))
    stage.once()
    stage.append(access("b", "00:01:00", count=4), access("a", "00:00:00"))
    lane = stage.lane([TOTALS, poison(function)])
    assert lane.mend(fails(lane))
    lane.start(once=True)
    drain(lane)
    assert stage.windows()[(600, at("00:00:00"), DEV1)] == (5, 2)
    progress = stage.progress()
    assert set(progress.families) == {TOTALS.family}
    assert list(progress.failed) == ["poison"]
    assert "\n" not in progress.failed["poison"]
    assert progress.position == stage.source.end_position()


def test_a_lane_whose_only_metric_was_left_out_goes_on_reading(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"))
    lane = stage.lane([poison(aggregate="APPROX_COUNT_DISTINCT")], "sketch")
    assert lane.mend(fails(lane))
    lane.start(once=True)
    drain(lane)
    assert stage.progress("sketch").position == stage.source.end_position()
    assert list(stage.progress("sketch").failed) == ["poison"]


def test_no_metric_is_blamed_for_a_failure_that_is_not_its_own(stage: Stage) -> None:
    stage.append(access("a", "00:00:00"))
    lane = stage.once()
    assert not lane.mend(RuntimeError("a disk, a memory, a bug"))
    assert stage.progress().failed == {}
    (segment,) = stage.source.end_position()["segments"]
    stage.uncommit()
    (stage.settings.home / "source" / "access" / segment).unlink()
    assert not stage.lane([TOTALS, poison()]).mend(RuntimeError("the batch cannot be read again"))
