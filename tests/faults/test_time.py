"""Time: hosts whose zone changes its offset, leap days, and events that arrive while a batch makes its cut."""

import pytest

from tests.faults.disk_faults import resume, wait_stopped
from tests.faults.rig import Rig
from tidemark.windows import iso, parse_instant

pytestmark = [pytest.mark.spark, pytest.mark.fault, pytest.mark.long]

SEAM = "spark_jobs.settle:ContractBatch.run@1:stop"
"""The barrier has passed; silver is not read yet."""


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        # At 01:00 UTC the hour from 2 to 3 comes a second time; local midnight is within the range.
        pytest.param("Europe/Berlin", "2025-10-25T21:30:00Z", id="autumn in Berlin"),
        # Three and a half hours off UTC, over the last midnight of February in a leap year.
        pytest.param("America/St_Johns", "2024-02-29T22:30:00Z", id="leap day"),
    ],
)
def test_events_that_arrive_during_the_cut_count_once_in_any_zone(rig: Rig, zone: str, start: str) -> None:
    rig.environment["TZ"] = zone
    begin = int(parse_instant(start, "start").timestamp())
    with rig.produce(2, 7_200, 1, start=begin) as producer:
        assert producer.wait() == 0, producer.text()[-2000:]
    rig.drain()
    rig.assert_exact()
    with rig.command("batch", "--through", iso(begin + 7_200), places=[SEAM]) as batch:
        wait_stopped(batch)
        # On both sides of the seam, and none later than speed counts.
        with rig.produce(1, 7_800, 2, start=begin + 6_600) as producer:
            assert producer.wait() == 0, producer.text()[-2000:]
        rig.drain()
        resume(batch)
        assert batch.wait(300) == 0, batch.text()[-4000:]
    rig.batch(begin + 7_200)
    rig.assert_exact(("10m", "30m", "1h", "1d"))
    rig.assert_conserved()
