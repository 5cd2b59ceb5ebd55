"""A disk that is full: the driver ends with one clear line, nothing is torn, and all is exact once space is back."""

import re

import pytest

from tests.faults.disk_faults import full_disk, resume, wait_stopped
from tests.faults.rig import Rig

pytestmark = [pytest.mark.spark, pytest.mark.fault]
START = 1_767_225_600
BRONZE = "streaming.lake_writer:LakeWriter._append@1:stop"


def produce(rig: Rig, seed: int, start: int = START) -> None:
    with rig.produce(20, 1200, seed, "--duplicates", "0.05", "--invalid", "0.05", start=start) as producer:
        assert producer.wait() == 0, producer.text()


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize("place", [BRONZE])
def test_a_full_disk_ends_the_driver_with_one_line_and_loses_nothing(rig: Rig, place: str) -> None:
    produce(rig, 1)
    with rig.stream("--once", places=[place]) as driver:
        wait_stopped(driver)
        with full_disk(driver):
            resume(driver)
            code = driver.wait()
    assert code == 1, driver.text()[-4000:]
    assert "Traceback" not in driver.text()
    assert re.match(r"tidemark: access/\w+ failed 4 times: the disk is full", last_line(driver.text())), driver.text()
    assert rig.wrong_values() == []
    rig.drain()
    rig.assert_exact()
    counts = rig.assert_conserved()
    assert rig.assert_bronze_exact() == counts["received"] == 24_000
