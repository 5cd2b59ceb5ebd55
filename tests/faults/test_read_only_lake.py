"""A lake that cannot be written: jobs end with one clear line, readers go on, and nothing is lost."""

import re
from pathlib import Path

import pytest

from tests.faults.disk_faults import ORDINARY_USER, read_only
from tests.faults.rig import Rig
from tidemark.windows import iso

pytestmark = [pytest.mark.spark, pytest.mark.fault, pytest.mark.long]
START = 1_767_225_600


def produce(rig: Rig, seed: int, start: int) -> None:
    with rig.produce(20, 1200, seed, "--duplicates", "0.05", "--invalid", "0.05", start=start) as producer:
        assert producer.wait() == 0, producer.text()


def assert_refused(rig: Rig, *command: str) -> None:
    with rig.command(*command) as driver:
        assert driver.wait() == 1, driver.text()[-4000:]
    assert not re.search("^Traceback", driver.text(), re.MULTILINE)  # Spark's own log has ours inside its lines
    assert "Permission denied" in driver.text().strip().splitlines()[-1], driver.text()[-4000:]


def test_a_read_only_lake_stops_writers_and_not_readers(rig: Rig) -> None:
    produce(rig, 1, START)
    rig.drain()
    rig.batch(START + 600)
    produce(rig, 2, START + 1200)
    rig.prefix = ORDINARY_USER
    with read_only(Path(rig.settings.lake_uri)):
        assert_refused(rig, "stream", "--once")
        assert_refused(rig, "batch", "--through", iso(START + 600))
        with rig.command("status") as status:
            assert status.wait() == 0, status.text()
        assert rig.wrong_values() == []
    rig.drain()
    rig.batch(START + 1800)
    rig.assert_exact()
    assert rig.assert_bronze_exact() == rig.assert_conserved()["received"] == 48_000
