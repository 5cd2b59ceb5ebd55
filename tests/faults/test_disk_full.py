"""A disk that is full: the driver ends with one clear line, nothing is torn, and all is exact once space is back."""

import re
from pathlib import Path
from typing import Any

import pytest

from conf.settings import Settings, load_settings
from tests.faults.disk_faults import SmallDisk, full_disk, resume, wait_stopped
from tests.faults.rig import Driver, Rig, wait_for
from tidemark.windows import iso

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


def told(rig: Rig) -> list[tuple[Any, ...]]:
    """Start, dims and values of every point over both productions."""
    answer = rig.answer("10m", START, START + 3600)
    return [(point["start"], point["dims"], point["values"]) for point in answer["points"]]


@pytest.mark.long
@pytest.mark.parametrize("place", [BRONZE, FIRST])
def test_a_full_disk_ends_the_driver_with_one_line_and_loses_nothing(rig: Rig, place: str) -> None:
    produce(rig, 1)
    with rig.stream("--once", places=[place]) as driver:
        give_up_on_full_disk(driver)
    assert_nothing_lost(rig, received=24_000)


@pytest.mark.long
def test_a_disk_that_is_full_when_state_is_committed_loses_nothing(rig: Rig) -> None:
    produce(rig, 1)
    with rig.stream(places=[STATE]) as driver:
        rig.wait_exact()
        produce(rig, 2, START + 1200)
        give_up_on_full_disk(driver)
    assert re.search('"query": "access/exact".*the disk is full', driver.text()), driver.text()[-4000:]
    assert_nothing_lost(rig, received=48_000)


def give_up_on_full_disk(driver: Driver) -> None:
    """The driver waits at its place, goes on without a free block, and ends with one line that says so."""
    wait_stopped(driver)
    with full_disk(driver):
        resume(driver)
        code = driver.wait()
    assert code == 1, driver.text()[-4000:]
    assert "Traceback" not in driver.text()
    line = last_line(driver.text())
    assert re.match(r"tidemark: access/\w+ failed 4 times: the disk is full", line), driver.text()


def assert_nothing_lost(rig: Rig, received: int) -> None:
    """Answers were never wrong; R and C hold after the next run."""
    assert rig.wrong_values() == []
    rig.drain()
    rig.assert_exact()
    counts = rig.assert_conserved()
    assert rig.assert_bronze_exact() == counts["received"] == received


@pytest.mark.long
def test_a_running_driver_goes_on_by_itself_when_space_comes_back(rig: Rig) -> None:
    produce(rig, 2)
    with rig.stream() as driver:
        rig.wait_exact()
        before = told(rig)
        with full_disk(driver):
            produce(rig, 3, START + 1200)
            wait_for(lambda: "query failed, starting again" in driver.text(), 60, driver.text)
            assert told(rig) == before  # as old as `speed_as_of` says, and nothing half counted
        rig.wait_exact()
        # The lake writer is a query of its own, which starts again after its own wait.
        wait_for(lambda: rig.status()["received"] == 48_000, 120, lambda: f"{rig.status()}\n{driver.text()[-4000:]}")
        assert driver.stop() == 0, driver.text()[-4000:]
    rig.assert_exact()
    assert rig.assert_bronze_exact() == rig.assert_conserved()["received"] == 48_000


@pytest.mark.long
@pytest.mark.parametrize(("setting", "left"), [("LAKE", 8_192), ("LAKE", 65_536), ("CHECKPOINTS", 8_192)])
def test_a_file_system_without_a_free_block(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, left: int
) -> None:
    """ENOSPC while the stream appends, then, for the lake, while the batch writes."""
    with SmallDisk(tmp_path / "small", 64 * 2**20) as disk:
        monkeypatch.setenv(f"TIDEMARK_{setting}", str(disk.folder / "data"))
        rig = Rig(load_settings(), tmp_path)
        produce(rig, 4)
        rig.drain()
        rig.batch(START + 600)
        produce(rig, 5, START + 1200)
        disk.fill(left)
        with rig.stream("--once") as driver:
            assert driver.wait() == 1, driver.text()[-4000:]
        assert_one_line(driver.text())
        disk.free()
        rig.drain()
        rig.assert_exact()
        if setting == "LAKE":
            disk.fill(left)
            with rig.command("batch", "--through", iso(START + 1800)) as batch:
                assert batch.wait() == 1, batch.text()[-4000:]
            assert_one_line(batch.text())
            rig.assert_exact()
            disk.free()
        rig.batch(START + 1800)
        rig.assert_exact()
        assert rig.assert_bronze_exact() == rig.assert_conserved()["received"] == 48_000


def assert_one_line(text: str) -> None:
    assert not re.search("^Traceback", text, re.MULTILINE)  # Spark's own log has ours inside its lines
    assert re.match(r"tidemark: .*(the disk is full|No space left on device)", last_line(text)), text[-4000:]
