"""Views restored from the state are the bytes that the stream had written."""

import pytest

from tests.streaming.stage import TOTALS, Stage, access, at, metric_of
from tidemark.metrics.model import Metric

pytestmark = pytest.mark.spark
SPREAD = metric_of(
    "spread",
    "SELECT device_id, AVG(access_count) AS mean, STDDEV(access_count) AS spread, "
    "MIN(access_count) AS low FROM access GROUP BY device_id",
)
SKETCH = metric_of(
    "people",
    "SELECT APPROX_COUNT_DISTINCT(device_id) AS devices, "
    "APPROX_PERCENTILE(access_count, 0.5) AS median, COUNT(*) AS events FROM access",
)


def finished(stage: Stage, metric: Metric) -> dict[object, object]:
    from tidemark.partials import finalise

    return {key: finalise(metric, partial, key[0]) for key, partial in stage.windows(metric).items()}


def test_open_windows_come_back_as_they_were(stage: Stage) -> None:
    stage.append(*(access(f"e{i}", f"00:0{i}:00", f"dev-{i % 3}", count=i * i) for i in range(10)))
    stage.once([TOTALS, SPREAD])
    stage.append(access("more", "00:09:30", count=50))
    stage.once([TOTALS, SPREAD])
    before = stage.dump()
    stage.client.flushall()
    assert stage.lane([TOTALS, SPREAD]).restore() == "restored"
    assert stage.dump() == before
    assert stage.lane([TOTALS, SPREAD]).restore() == "intact"


def test_sketches_come_back_with_the_same_answers(stage: Stage) -> None:
    stage.append(*(access(f"e{i}", "00:00:00", f"dev-{i}", count=i) for i in range(300)))
    stage.once([SKETCH], "sketch")
    before = finished(stage, SKETCH)
    stage.client.flushall()
    assert stage.lane([SKETCH], "sketch").restore() == "restored"
    assert finished(stage, SKETCH) == before
    assert before[600, at("00:00:00"), ""]["events"] == 300  # type: ignore[index]


def test_late_minutes_of_open_windows_come_back(stage: Stage) -> None:
    stage.append(access("a", "00:20:00"))
    stage.once()
    stage.append(access("late", "00:08:00"))
    stage.once()
    assert stage.late() == [at("00:08:00")]
    stage.client.flushall()
    stage.lane().restore()
    assert stage.late() == [at("00:08:00")]


def test_windows_that_had_left_the_state_are_not_claimed(stage: Stage) -> None:
    stage.append(access("a", "00:05:00"), access("b", "00:45:00"))
    stage.once()
    stage.client.flushall()
    stage.lane().restore()
    assert (600, at("00:00:00"), "5:dev-1") not in stage.windows()
    assert stage.progress().families == {TOTALS.family: at("00:30:00")}
    assert stage.progress().watermark == at("00:35:00")


def test_without_a_checkpoint_there_is_nothing_to_restore(stage: Stage) -> None:
    assert stage.lane().restore() == "none yet"
