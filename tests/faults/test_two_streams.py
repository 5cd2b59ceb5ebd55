"""Two streams where one is allowed: the second refuses, or takes over and the first is refused, hung or not."""

from pathlib import Path

import pytest

from tests.faults.rig import Driver, Rig, wait_for

pytestmark = [pytest.mark.spark, pytest.mark.fault]
SPAN_S = 600
BEGIN = 1_767_225_600
HUNG = "streaming.fenced_writer:FencedWriter.write@2:stop"
"""The first batch that brings new events after a restart has begun with its progress; the process hangs before it."""


def test_a_second_stream_on_the_same_checkpoints_refuses_also_while_the_first_hangs(rig: Rig) -> None:
    produce(rig, 0)
    with rig.stream() as first:
        wait_for(lambda: rig.differences() == [], 120)
        first.pause()
        second = rig.stream("--once")
        assert second.wait() == 1, second.text()
        assert "tidemark: access: another stream runs on these checkpoints" in second.text()
        first.resume()
        produce(rig, 1)
        rig.wait_exact()
        wait_for(lambda: rig.status()["lag_seconds"] == 0, 120, lambda: str(rig.status()))
        assert first.stop() == 0, first.text()
    all_exact(rig)


@pytest.mark.long
@pytest.mark.parametrize("shared", [True, False], ids=["one checkpoint", "own checkpoints"])
def test_a_stream_that_hung_is_refused_after_another_took_over(rig: Rig, shared: bool) -> None:
    """As on two machines, whose locks do not know each other: one checkpoint under two names, or two checkpoints."""
    produce(rig, 0)
    rig.drain()
    produce(rig, 1)
    with rig.stream(places=[HUNG]) as first:
        wait_for(lambda: is_stopped(first), 120)
        with rig.stream(extra=other_machine(rig, shared)) as second:
            produce(rig, 2)
            rig.wait_exact()
            first.resume()
            assert first.wait() == 1, first.text()
            told = [line for line in first.text().splitlines() if line.startswith("tidemark: access/")]
            assert len(told) == 1, first.text()
            assert "a newer stream has taken over" in told[0]
            produce(rig, 3)
            rig.wait_exact()
            wait_for(lambda: rig.status()["lag_seconds"] == 0, 120, lambda: str(rig.status()))
            assert second.stop() == 0, second.text()
    all_exact(rig)


def other_machine(rig: Rig, shared: bool) -> dict[str, str]:
    """Settings of a machine that mounts the same home, but not the folder in which the lock is."""
    mine = Path(rig.settings.checkpoints_uri)
    theirs = rig.folder / "checkpoints-of-the-other"
    theirs.mkdir()
    if shared:
        (theirs / rig.contract).symlink_to(mine / rig.contract, target_is_directory=True)
    return {"TIDEMARK_CHECKPOINTS": str(theirs)}


def produce(rig: Rig, chunk: int) -> None:
    start = BEGIN + chunk * SPAN_S
    with rig.produce(10, SPAN_S, 50 + chunk, "--duplicates", "0.05", "--invalid", "0.05", start=start) as producer:
        assert producer.wait() == 0, producer.text()


def is_stopped(driver: Driver) -> bool:
    """Whether the process itself has been paused (its JVM goes on, as when only the driver's Python hangs)."""
    assert driver.is_alive, driver.text()[-4000:]
    return Path(f"/proc/{driver.process.pid}/stat").read_text().rsplit(") ", 1)[1].startswith("T")


def all_exact(rig: Rig) -> None:
    rig.assert_exact()
    counts = rig.assert_conserved()
    assert rig.assert_bronze_exact() == counts["received"]
