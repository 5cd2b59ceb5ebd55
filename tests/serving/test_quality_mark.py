"""Degraded answers: the share of refused records lately, against the metric's `min_quality`."""

from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from serving.quality_mark import QualityWatch
from tests.packs import SHIPPED
from tests.serving.stage import Stage, ask, at
from tests.serving.test_problems import check_problem
from tidemark import keys
from tidemark.progress import Progress

METRIC = replace(SHIPPED.metrics["device_access"], min_quality=0.99)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def lake(received: int, quarantined: int) -> Progress:
    records = {"received": received, "valid": received - quarantined, "quarantined": quarantined}
    return Progress(1, 1, 0.0, records=records)


def test_a_process_that_has_just_started_goes_by_all_that_was_counted() -> None:
    assert QualityWatch(Clock()).mark(METRIC, lake(1000, 100)) == {"degraded": True, "quality": 0.9}
    assert QualityWatch(Clock()).mark(METRIC, lake(1000, 1)) == {}
    assert QualityWatch(Clock()).mark(METRIC, None) == {}
    assert QualityWatch(Clock()).mark(replace(METRIC, min_quality=None), lake(1000, 100)) == {}


def test_a_poisoned_release_shows_after_millions_of_good_records_and_goes_when_it_is_over() -> None:
    clock = Clock()
    watch = QualityWatch(clock)
    assert watch.mark(METRIC, lake(10_000_000, 0)) == {}
    clock.now = 60
    assert watch.mark(METRIC, lake(10_001_000, 500)) == {"degraded": True, "quality": 0.5}
    clock.now = 700
    watch.mark(METRIC, lake(10_011_000, 500))
    clock.now = 1400
    assert watch.mark(METRIC, lake(10_021_000, 500)) == {}


def test_a_handful_of_records_decides_nothing() -> None:
    clock = Clock()
    watch = QualityWatch(clock)
    watch.mark(METRIC, lake(10_000, 0))
    clock.now = 60
    assert watch.mark(METRIC, lake(10_003, 1)) == {}


def test_counts_of_a_new_checkpoint_begin_again() -> None:
    watch = QualityWatch(Clock())
    watch.mark(METRIC, lake(10_000, 0))
    assert watch.mark(METRIC, lake(200, 100)) == {"degraded": True, "quality": 0.5}


def test_answers_readiness_and_monitoring_say_degraded(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / "definitions" / "metrics"
    folder.mkdir(parents=True)
    (folder / "m.yaml").write_text(yaml.safe_dump({**stage.metric.source_text, "min_quality": 0.99}))
    stage.stream({600: {(at("00:30"), "d"): (1, 1)}})
    stage.client.set(keys.progress("access", keys.LAKE_LANE), lake(1000, 100).to_json())
    with stage.api(definitions=str(tmp_path / "definitions")) as client:
        document = ask(client).json()
        check_problem(client.get("/health/ready"), 503, "not-ready")
        exported = client.get("/metrics").text
    assert (document["degraded"], document["quality"]) == (True, 0.9)
    assert 'tidemark_degraded{metric="device_access"} 1.0' in exported
