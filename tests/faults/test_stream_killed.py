"""kill -9 of the stream driver: nothing is lost, nothing is counted twice."""

import pytest

from tests.faults.rig import SIGKILLED, Rig

pytestmark = [pytest.mark.spark, pytest.mark.fault]


@pytest.mark.parametrize(
    "place",
    [
        "streaming.fenced_writer:FencedWriter.write@2:after",
        pytest.param("streaming.lake_writer:LakeWriter._append@1:after", marks=pytest.mark.long),
    ],
)
def test_a_kill_between_write_and_commit_counts_once(rig: Rig, place: str) -> None:
    with rig.produce(100, 1200, 1, "--duplicates", "0.05", "--invalid", "0.05", start=1_767_225_600) as producer:
        assert producer.wait() == 0
    with rig.stream("--once", places=[place]) as driver:
        assert driver.wait() == SIGKILLED
    assert rig.wrong_values() == []
    rig.drain()
    rig.assert_exact()
    counts = rig.assert_conserved()
    assert rig.assert_bronze_exact() == counts["received"] == 120_000
