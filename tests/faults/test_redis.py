"""Redis stops, is emptied, goes back in time, fills up, is replaced: answers lack something and say so, never lie."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conf.settings import Settings
from tests.faults.api import Api
from tests.faults.redis_faults import MovingName, RedisServer
from tests.faults.rig import Rig, wait_for
from tidemark import keys
from tidemark.progress import Fence
from tidemark.windows import iso

pytestmark = [pytest.mark.spark, pytest.mark.fault]
START = 1_767_225_600
"""2026-01-01T00:00:00Z: event time is far from the host's clock, so nothing depends on when a test runs."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """With a log of its writes, as the embedded one."""
    running = RedisServer(tmp_path / "redis", "--appendonly", "yes").start()
    yield running
    running.stop()


@pytest.fixture
def rdb_server(tmp_path: Path) -> Iterator[RedisServer]:
    """With snapshots only."""
    running = RedisServer(tmp_path / "redis").start()
    yield running
    running.stop()


def rig_on(settings: Settings, folder: Path, url: str) -> Rig:
    rig = Rig(settings, folder)
    rig.environment = {"TIDEMARK_REDIS_URL": url}
    return rig


def produce(rig: Rig, seed: int, minutes: int = 10, after_minutes: int = 0, rate: float = 20) -> None:
    """Events of some minutes of event time, at once."""
    start = START + after_minutes * 60
    with rig.produce(rate, minutes * 60, seed, "--duplicates", "0.02", "--invalid", "0.02", start=start) as producer:
        assert producer.wait() == 0, producer.text()


def fence(server: RedisServer) -> Fence:
    held = server.ask("GET", keys.fence("access", "exact"))
    assert isinstance(held, bytes)
    return Fence.parse(held)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [15, 120])
def test_a_stopped_redis_is_waited_for(settings: Settings, tmp_path: Path, server: RedisServer, seconds: int) -> None:
    rig = rig_on(settings, tmp_path, server.url)
    posted = tmp_path / "posted.ndjson"
    posted.touch()
    produce(rig, 1)
    with rig.stream() as driver, Api(rig) as api:
        rig.wait_exact()
        rig.ledgers.append(posted)
        assert api.get("/health/ready").status_code == 200
        rows = rig.assert_bronze_exact()
        server.kill()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            assert api.post_event(START + 700, posted) == 202
            assert api.get("/health/live").status_code == 200
            ready = api.get("/health/ready")
            assert ready.status_code == 503
            assert ready.json()["reasons"][0]["check"] == "redis"
            assert rig.wrong_values() == []
            time.sleep(0.5)
        found = rig.answer("10m", START, START + 3600)
        assert found["missing"] == [{"from": iso(START), "to": iso(START + 3600), "reason": "speed_unavailable"}]
        assert rig.assert_bronze_exact() > rows, "the lake did not go on"
        assert driver.is_alive, driver.text()[-4000:]
        server.start()
        caught_up_s = rig.wait_exact()
        assert api.get("/health/ready").status_code == 200
        assert driver.is_alive
        assert driver.stop() == 0, driver.text()[-4000:]
    rig.assert_conserved()
    rig.assert_bronze_exact()
    print(f"Redis away for {seconds} s: exact {caught_up_s:.1f} s after its return")


def test_an_emptied_redis_is_filled_again_by_the_running_stream_and_by_the_command(
    settings: Settings, tmp_path: Path, server: RedisServer
) -> None:
    rig = rig_on(settings, tmp_path, server.url)
    produce(rig, 2)
    with rig.stream() as driver:
        rig.wait_exact()
        driver.pause()
        server.ask("FLUSHALL")
        found = rig.answer("10m", START, START + 3600)
        assert not found["complete"]
        assert (found["points"], {gap["reason"] for gap in found["missing"]}) == ([], {"speed_unavailable"})
        driver.resume()
        restored_s = rig.wait_exact()
        # The lake writer has nothing to write, yet its record comes back: without it all would look unread.
        wait_for(lambda: rig.status()["lag_seconds"] == 0, 30, lambda: str(rig.status()))
        assert driver.stop() == 0, driver.text()[-4000:]
    server.ask("FLUSHALL")
    assert not rig.answer("10m", START, START + 3600)["complete"]
    with rig.command("rebuild-speed") as command:
        assert command.wait() == 0, command.text()
    rig.assert_exact()
    print(f"FLUSHALL: exact {restored_s:.1f} s later")


@pytest.mark.long
def test_an_older_snapshot_is_noticed_while_nothing_arrives(
    settings: Settings, tmp_path: Path, rdb_server: RedisServer
) -> None:
    rig = rig_on(settings, tmp_path, rdb_server.url)
    with rig.stream() as driver:
        snapshot, old = count_past_a_snapshot(rig, rdb_server, caught_up=rig.wait_exact)
        driver.pause()
        rdb_server.go_back_to(snapshot)
        assert fence(rdb_server) == old
        driver.resume()
        restored_s = rig.wait_exact()
        assert fence(rdb_server).epoch > old.epoch
        assert driver.stop() == 0, driver.text()[-4000:]
    rig.assert_conserved()
    print(f"older snapshot: exact {restored_s:.1f} s after it was loaded")


@pytest.mark.long
def test_an_older_snapshot_is_noticed_by_the_next_stream(
    settings: Settings, tmp_path: Path, rdb_server: RedisServer
) -> None:
    rig = rig_on(settings, tmp_path, rdb_server.url)
    snapshot, old = count_past_a_snapshot(rig, rdb_server, caught_up=rig.drain)
    rdb_server.go_back_to(snapshot)
    assert fence(rdb_server) == old
    found = rig.answer("10m", START, START + 3600)
    assert {gap["reason"] for gap in found["missing"]} == {"speed_stopped"}
    rig.drain()
    rig.assert_exact()
    rig.assert_conserved()


def count_past_a_snapshot(rig: Rig, server: RedisServer, caught_up: Callable[[], object]) -> tuple[Path, Fence]:
    """A snapshot with ten minutes of events, its fence; the server has counted six more since."""
    produce(rig, 3)
    caught_up()
    snapshot, old = server.keep_snapshot(), fence(server)
    produce(rig, 4, minutes=6, after_minutes=6)
    caught_up()
    rig.assert_exact()
    assert fence(server) != old
    return snapshot, old


@pytest.mark.long
def test_a_full_redis_holds_the_stream_up_until_it_has_room(
    settings: Settings, tmp_path: Path, server: RedisServer
) -> None:
    rig = rig_on(settings, tmp_path, server.url)
    produce(rig, 7)
    with rig.stream() as driver, Api(rig) as api:
        rig.wait_exact()
        used = server.client().info("memory")["used_memory"]
        server.ask("CONFIG", "SET", "maxmemory", used + 500_000)
        with rig.produce(50, 600, 8, start=START + 600, keys=20_000) as producer:
            assert producer.wait() == 0
        wait_for(lambda: "Redis is full" in driver.text(), 60, driver.text)
        wait_for(lambda: not rig.answer("10m", START, START + 3600)["complete"], 60)
        reasons = {gap["reason"] for gap in rig.answer("10m", START, START + 3600)["missing"]}
        assert reasons <= {"speed_stopped", "speed_stale"}
        assert rig.wrong_values() == []
        exported = {line.split(" ")[0]: line.split(" ")[1] for line in api.get("/metrics").text.splitlines()}
        limit = float(exported['tidemark_redis_memory_bytes{kind="limit"}'])
        assert float(exported['tidemark_redis_memory_bytes{kind="used"}']) > 0.9 * limit
        assert driver.is_alive
        server.ask("CONFIG", "SET", "maxmemory", 0)
        caught_up_s = rig.wait_exact()
        assert driver.stop() == 0, driver.text()[-4000:]
    rig.assert_conserved()
    print(f"full Redis: exact {caught_up_s:.1f} s after it had room")


@pytest.mark.long
def test_a_promoted_replica_without_the_last_writes_is_filled_up(
    settings: Settings, tmp_path: Path, server: RedisServer
) -> None:
    name, replica = MovingName(server.port), RedisServer(tmp_path / "replica").start()
    rig = rig_on(settings, tmp_path, name.url)
    produce(rig, 9)
    try:
        with rig.stream() as driver:
            rig.wait_exact()
            replica.ask("REPLICAOF", "127.0.0.1", server.port)
            wait_for(lambda: replica.client().info("replication")["master_link_status"] == "up", 30)
            wait_for(lambda: fence(replica) == fence(server), 30)
            replica.ask("REPLICAOF", "NO", "ONE")
            produce(rig, 10, minutes=6, after_minutes=6)
            rig.wait_exact()
            assert fence(replica).batch < fence(server).batch
            server.kill()
            name.move_to(replica.port)
            moved_s = rig.wait_exact()
            assert driver.stop() == 0, driver.text()[-4000:]
        rig.assert_conserved()
        print(f"promoted replica: exact {moved_s:.1f} s after the name had moved")
    finally:
        name.close()
        replica.stop()
