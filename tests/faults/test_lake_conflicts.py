"""Lake writer, nightly and maintenance at once, also past the lock that keeps jobs apart: no missing file, R after."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from conf.settings import PACKAGED
from spark_jobs import maintain
from tests.faults.disk_faults import java_of, wait_stopped
from tests.faults.lake_files import make_older, missing_files
from tests.faults.rig import Rig, wait_for
from tidemark.errors import LakeUnavailable
from tidemark.keys import LakeTables
from tidemark.metrics.registry import load_registry
from tidemark.windows import iso

pytestmark = [pytest.mark.spark, pytest.mark.fault, pytest.mark.long]
START = 1_767_225_600
HOUR = 3_600


def produce(rig: Rig, seed: int, start: int, seconds: int = 2 * HOUR) -> None:
    with rig.produce(1, seconds, seed, "--late", "0.05", start=start) as producer:
        assert producer.wait() == 0, producer.text()


def maintained(rig: Rig, now: float) -> list[maintain.Maintained]:
    """Maintenance without the lock, as another tool's OPTIMIZE and VACUUM would run."""
    return maintain.run(rig.settings, load_registry([PACKAGED]), now, dry_run=False)


def gold_files(rig: Rig) -> set[Path]:
    return set(Path(LakeTables(rig.settings.lake_uri).gold(rig.metric)).rglob("*.parquet"))


def test_a_batch_whose_table_is_compacted_under_it_writes_again(rig: Rig) -> None:
    """The JVM is held between the data files of gold and their commit, while OPTIMIZE and VACUUM commit."""
    produce(rig, 1, START)
    rig.drain()
    rig.batch(START + HOUR)
    produce(rig, 2, START + 2 * HOUR)
    rig.drain()
    through, before = START + 3 * HOUR, gold_files(rig)
    with rig.command("batch", "--through", iso(through)) as batch:
        wait_for(lambda: gold_files(rig) > before, 120, batch.text)
        java = java_of(batch)
        os.kill(java, signal.SIGSTOP)
        done = maintained(rig, START + 4 * HOUR)
        os.kill(java, signal.SIGCONT)
        assert batch.wait() == 0, batch.text()[-4000:]
    assert sum(each.rewritten_files for each in done) > 0
    assert "another job changed the table, writing again" in batch.text()
    rig.assert_exact()
    rig.assert_conserved()
    assert missing_files(Path(rig.settings.lake_uri)) == []


def test_vacuum_keeps_what_publications_pin(rig: Rig) -> None:
    """Two batches, each compacted after it was published, then all is made older than VACUUM waits."""
    lake = Path(rig.settings.lake_uri)
    produce(rig, 3, START)
    rig.drain()
    for through in (START + HOUR, START + 3 * HOUR):
        rig.batch(through)
        maintained(rig, through)
    make_older(lake, days=9)
    removed = sum(each.vacuumed_files for each in maintained(rig, START + 3 * HOUR))
    assert removed > 0
    assert missing_files(lake) == []
    rig.assert_exact()
    with redis.Redis.from_url(str(rig.settings.redis_url)) as client:
        client.flushall()  # what was hot must come from the lake now
    found = rig.answer("10m", START - 2 * 86_400, START + HOUR)
    assert found["complete"]
    assert {point["layer"] for point in found["points"]} == {"batch"}
    produce(rig, 4, START + 2 * HOUR)
    rig.drain()
    rig.batch(START + 5 * HOUR)
    rig.assert_exact()


def test_stream_batches_and_maintenance_all_at_once(rig: Rig) -> None:
    """A running stream, hour after hour of input, a batch after each, and maintenance that asks nobody."""
    hours = 3
    rig.environment["TIDEMARK_BARRIER_TIMEOUT_S"] = "120"
    with rig.stream() as stream, maintaining(rig) as outcomes:
        for hour in range(hours):
            produce(rig, 10 + hour, START + hour * HOUR, HOUR)
            with rig.command("batch", "--through", iso(START + hour * HOUR)) as batch:
                code = batch.wait(300)
            assert "Traceback" not in batch.text()
            assert code == 0 or "another job changed" in batch.text(), batch.text()[-4000:]
        assert stream.stop() == 0, stream.text()[-4000:]
    print(f"{hours} batches, {len(outcomes)} runs of maintenance, {sum(outcomes)} without a conflict")
    assert any(outcomes)
    rig.drain()
    rig.batch(START + (hours + 1) * HOUR)
    rig.assert_exact()
    rig.assert_conserved()
    rig.assert_bronze_exact()
    assert missing_files(Path(rig.settings.lake_uri)) == []


@contextmanager
def maintaining(rig: Rig) -> Iterator[list[bool]]:
    """Maintenance over and over; whether each run met no conflict. Anything but LakeUnavailable fails the test."""
    stop, outcomes, failures = threading.Event(), list[bool](), list[BaseException]()

    def run() -> None:
        while not stop.wait(1):
            try:
                maintained(rig, time.time())
                outcomes.append(True)
            except LakeUnavailable:
                outcomes.append(False)
            except BaseException as error:  # noqa: BLE001  told by the test, which runs in another thread
                failures.append(error)
                return

    thread = threading.Thread(target=run, name="maintaining")
    thread.start()
    try:
        yield outcomes
    finally:
        stop.set()
        thread.join()
    assert failures == []


def test_a_second_batch_is_refused_beside_one_that_is_paused(rig: Rig) -> None:
    produce(rig, 6, START)
    rig.drain()
    place = "spark_jobs.publish:commit_publications@1:stop"
    with rig.command("batch", "--through", iso(START + HOUR), places=[place]) as first:
        wait_stopped(first)
        with rig.command("batch", "--through", iso(START + HOUR)) as second:
            assert second.wait() == 1
        line = second.text().strip().splitlines()[-1]
        assert line == f"tidemark: another batch (process {first.process.pid}) is running on this lake"
        rig.assert_exact()
        os.kill(first.process.pid, signal.SIGCONT)
        assert first.wait() == 0, first.text()[-4000:]
    rig.batch(START + HOUR)
    rig.assert_exact()
