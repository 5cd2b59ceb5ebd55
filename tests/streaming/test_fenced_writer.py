"""The fence: what a real Redis lets a writer do after a newer one came, or after it lost some of its writes."""

from collections.abc import Iterator

import pytest
import redis

from streaming import fenced_writer
from streaming.fenced_writer import SET_NEWER, Command, FencedWriter, ViewsLost
from tidemark import keys
from tidemark.errors import StaleWriter, ViewsUnavailable
from tidemark.progress import Fence

PROGRESS = keys.progress("access", "exact")


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as connected:
        yield connected


@pytest.fixture
def writer(client: redis.Redis) -> FencedWriter:
    claimed = FencedWriter(client, "access", "exact", "checkpoint")
    claimed.claim(0, -1, intact=True)
    return claimed


def commands(count: int) -> list[Command]:
    return [("SET", f"x{number}", number) for number in range(count)]


def one_command_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fenced_writer, "_MAX_ARGUMENTS", 1)
    monkeypatch.setattr(fenced_writer, "_PIPELINE", 1)


def test_an_older_batch_is_refused(writer: FencedWriter, client: redis.Redis) -> None:
    writer.write(0, [("SET", "x", "0")])
    writer.write(1, [("SET", "x", "1")])
    with pytest.raises(StaleWriter):
        writer.write(0, [("SET", "x", "0")])
    assert client.get("x") == b"1"


def test_a_replayed_batch_is_taken(writer: FencedWriter, client: redis.Redis) -> None:
    writer.write(0, commands(3))
    writer.write(0, commands(3))
    assert writer.fence() == Fence(1, 0, "checkpoint")


def test_an_older_epoch_is_refused(writer: FencedWriter, client: redis.Redis) -> None:
    FencedWriter(client, "access", "exact", "checkpoint").claim(0, -1, intact=True)
    with pytest.raises(StaleWriter):
        writer.write(0, [("SET", "x", "0")])
    assert client.get("x") is None


def test_a_redis_that_lost_a_whole_batch_is_noticed(writer: FencedWriter, client: redis.Redis) -> None:
    writer.write(0, commands(1))
    held = client.get(keys.fence("access", "exact"))
    writer.write(1, commands(1))
    client.set(keys.fence("access", "exact"), str(held, "ascii"))  # type: ignore[arg-type]
    with pytest.raises(ViewsLost):
        writer.write(2, commands(1))


@pytest.mark.parametrize("scripts", range(1, 4))
def test_a_snapshot_from_within_a_batch_does_not_pass_for_the_batch(
    writer: FencedWriter, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, scripts: int
) -> None:
    """Redis comes back as it was after `scripts` of the four scripts of batch 1."""
    one_command_a_script(monkeypatch)
    writer.write(0, commands(3))
    snapshots: list[dict[bytes, bytes]] = []
    send = FencedWriter._send

    def watched(self: FencedWriter, *arguments: object, **options: object) -> None:
        send(self, *arguments, **options)  # type: ignore[arg-type]
        snapshots.append({key: client.dump(key) for key in client.keys("*")})  # type: ignore[misc,union-attr]

    monkeypatch.setattr(FencedWriter, "_send", watched)
    writer.write(1, commands(3))
    assert len(snapshots) == 4
    client.flushall()
    for key, dumped in snapshots[scripts - 1].items():
        client.restore(key, 0, dumped)  # type: ignore[arg-type]
    fence = writer.fence()
    assert fence is not None
    assert fence.batch == 0
    with pytest.raises(ViewsLost):
        writer.write(2, commands(3))


def test_a_redis_that_loses_a_script_within_a_batch_is_noticed_by_the_next_script(
    writer: FencedWriter, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash loses the tail of the log: script 1 is gone when script 2 comes, the fence is as it was."""
    one_command_a_script(monkeypatch)
    writer.write(0, commands(2))
    send = FencedWriter._send

    def losing(self: FencedWriter, batch: int, first: int, *arguments: object, **options: object) -> None:
        held = client.get(keys.step("access", "exact"))
        send(self, batch, first, *arguments, **options)  # type: ignore[arg-type]
        if first == 1:
            client.delete("x0")
            client.set(keys.step("access", "exact"), held)  # type: ignore[arg-type]

    monkeypatch.setattr(FencedWriter, "_send", losing)
    with pytest.raises(ViewsLost):
        writer.write(1, commands(2))
    fence = writer.fence()
    assert fence is not None
    assert fence.batch == 0


def test_a_claim_over_views_in_doubt_takes_back_what_vouches_for_them(client: redis.Redis) -> None:
    """A kill between the claim and the repair must leave views that the next start does not take for whole."""
    first = FencedWriter(client, "access", "exact", "checkpoint")
    first.claim(0, -1, intact=True)
    first.write(0, (), [("SET", PROGRESS, "{}")])
    first.claim(1, 7, intact=True)
    assert client.exists(PROGRESS)
    first.claim(2, 7, intact=False)
    assert not client.exists(PROGRESS)


def test_an_idle_writer_notices_that_redis_came_back_without_its_last_batch(
    writer: FencedWriter, client: redis.Redis
) -> None:
    writer.write(0, [("SET", "x", "0")])
    older = client.dump(keys.fence("access", "exact"))
    writer.write(1, [("SET", "x", "1")])
    assert writer.holds()
    client.restore(keys.fence("access", "exact"), 0, older, replace=True)  # type: ignore[arg-type]
    assert not writer.holds()


def test_a_full_redis_is_named_as_full_and_takes_the_same_batch_afterwards(
    writer: FencedWriter, client: redis.Redis
) -> None:
    writer.write(0, [("SET", "x", "0")])
    client.config_set("maxmemory", 1)
    try:
        with pytest.raises(ViewsUnavailable, match="Redis is full"):
            writer.write(1, [("SET", "x", "1")])
        assert client.get("x") == b"0"
        assert writer.fence() == Fence(1, 0, "checkpoint")
    finally:
        client.config_set("maxmemory", 0)
    writer.write(1, [("SET", "x", "1")])
    assert client.get("x") == b"1"


def test_a_published_key_that_holds_something_else_does_not_stop_the_batch(
    writer: FencedWriter, client: redis.Redis
) -> None:
    client.hset("agg:latest", "field", "of another program")
    value = '{"window_start":"2026-01-01T00:00:00Z","n":1}'
    writer.write(0, [(SET_NEWER, "agg:latest", "2026-01-01T00:00:00Z", value), ("SET", "x", "0")])
    assert client.get("agg:latest") == value.encode()
    assert client.get("x") == b"0"


def test_a_published_value_keeps_the_end_that_sealing_gave_it_and_a_newer_window_has_none(
    writer: FencedWriter, client: redis.Redis
) -> None:
    """It lapsed after `hot`, sealed or not."""

    def value(stamp: str) -> str:
        return f'{{"window_start":"{stamp}"}}'

    stamps = [f"2026-01-01T00:{minute}:00Z" for minute in ("00", "10", "20")]
    for batch, stamp in enumerate(stamps[:2]):
        writer.write(batch, [(SET_NEWER, "agg:latest", stamp, value(stamp))])
        assert client.ttl("agg:latest") == -1
    client.set("agg:latest", value(stamps[1]), ex=100)
    writer.write(
        2, [(SET_NEWER, "agg:latest", stamps[1], value(stamps[1])), (SET_NEWER, "agg:latest", stamps[0], "old")]
    )
    assert client.get("agg:latest") == value(stamps[1]).encode()
    assert 0 < int(client.ttl("agg:latest")) <= 100  # type: ignore[arg-type]
    writer.write(3, [(SET_NEWER, "agg:latest", stamps[2], value(stamps[2]))])
    assert client.get("agg:latest") == value(stamps[2]).encode()
    assert client.ttl("agg:latest") == -1


def test_a_redis_emptied_between_the_look_and_the_claim_is_noticed(client: redis.Redis) -> None:
    """The claim used to give it a fence and the start a progress record: empty views that passed for whole."""
    first = FencedWriter(client, "access", "exact", "checkpoint")
    first.claim(0, -1, intact=True)
    first.write(0, (), [("SET", PROGRESS, "{}")])
    second = FencedWriter(client, "access", "exact", "checkpoint")
    assert second.fence() == Fence(1, 0, "checkpoint")
    client.flushall()
    with pytest.raises(ViewsLost):
        second.claim(1, 0, intact=True)
    assert client.keys("*") == []


def test_a_fence_over_views_in_doubt_does_not_take_the_next_batch_before_they_are_repaired(client: redis.Redis) -> None:
    """A Redis that comes back as it was at the claim: the next batch used to be written into empty views."""
    first = FencedWriter(client, "access", "exact", "checkpoint")
    first.claim(0, 7, intact=False)
    claimed = client.get(keys.fence("access", "exact"))
    first.write(7, commands(2), [("SET", PROGRESS, "{}")])
    assert first.holds()
    client.set(keys.fence("access", "exact"), str(claimed, "ascii"))  # type: ignore[arg-type]
    assert not first.holds()
    with pytest.raises(ViewsLost):
        first.write(8, commands(2))
