"""A disk that is full: the driver ends with one clear line, nothing is torn, and all is exact once space is back."""

import re

import pytest

from tests.faults.disk_faults import full_disk, resume, wait_stopped
from tests.faults.rig import Rig

pytestmark = [pytest.mark.spark, pytest.mark.fault]
START = 1_767_225_600
BRONZE = "streaming.lake_writer:LakeWriter._append@1:stop"
FIRST = "streaming.speed_lane:SpeedLane.handle@1:stop"
"""Before Java has unpacked its libraries."""
STATE = "streaming.speed_lane:SpeedLane.handle@2:stop"
"""What follows executes the query and commits its state."""


def produce(rig: Rig, seed: int, start: int = START) -> None:
    with rig.produce(20, 1200, seed, "--duplicates", "0.05", "--invalid", "0.05", start=start) as producer:
        assert producer.wait() == 0, producer.text()


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize("place", [BRONZE, pytest.param(FIRST, marks=pytest.mark.long)])
def test_a_full_disk_ends_the_driver_with_one_line_and_loses_nothing(rig: Rig, place: str) -> None:
    produce(rig, 1)
    with rig.stream("--once", places=[place]) as driver:
        wait_stopped(driver)
        with full_disk(driver):
            resume(driver)
            code = driver.wait()
    assert code == 1, driver.text()[-4000:]
    assert_given_up(driver.text())
    assert rig.wrong_values() == []
    rig.drain()
    rig.assert_exact()
    counts = rig.assert_conserved()
    assert rig.assert_bronze_exact() == counts["received"] == 24_000


@pytest.mark.long
def test_a_disk_that_is_full_when_state_is_committed_loses_nothing(rig: Rig) -> None:
    produce(rig, 1)
    with rig.stream(places=[STATE]) as driver:
        rig.wait_exact()
        produce(rig, 2, START + 1200)
        wait_stopped(driver)
        with full_disk(driver):
            resume(driver)
            code = driver.wait()
    assert code == 1, driver.text()[-4000:]
    assert_given_up(driver.text())
    assert re.search('"query": "access/exact".*the disk is full', driver.text()), driver.text()[-4000:]
    assert rig.wrong_values() == []
    rig.drain()
    rig.assert_exact()
    counts = rig.assert_conserved()
    assert rig.assert_bronze_exact() == counts["received"] == 48_000


def assert_given_up(text: str) -> None:
    assert "Traceback" not in text
    assert re.match(r"tidemark: access/\w+ failed 4 times: the disk is full", last_line(text)), text
