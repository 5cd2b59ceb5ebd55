"""One connection for all: every call gets its own reply, whatever becomes of the others or of the connection."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import redis
import redis.asyncio as aioredis
from redis.exceptions import RedisError, ResponseError, TimeoutError

from serving.wire import Wire

ECHO = "return ARGV[1]"
BUSY = "local t = redis.call('TIME') while redis.call('TIME')[1] - t[1] < 2 do end return ARGV[1]"


def with_wire(url: str, work: Callable[[Wire], Awaitable[None]], timeout_s: float = 5) -> None:
    async def run() -> None:
        client = aioredis.Redis.from_url(url, protocol=2)
        wire = Wire(client.connection_pool.make_connection, timeout_s)
        try:
            await work(wire)
        finally:
            await wire.close()
            await client.aclose()

    asyncio.run(run())


async def echoes(wire: Wire, count: int) -> list[bytes]:
    return await asyncio.gather(*(wire.script(ECHO, [], [number]) for number in range(count)))


def expected(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


def test_concurrent_calls_get_their_own_replies(redis_url: str) -> None:
    async def work(wire: Wire) -> None:
        for _ in range(3):
            assert await echoes(wire, 500) == expected(500)

    with_wire(redis_url, work)


def test_callers_that_leave_do_not_shift_the_replies_of_others(redis_url: str) -> None:
    async def work(wire: Wire) -> None:
        await echoes(wire, 1)
        calls = [asyncio.ensure_future(wire.script(ECHO, [], [number])) for number in range(100)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        assert await asyncio.gather(*calls[1::2]) == expected(100)[1::2]

    with_wire(redis_url, work)


def test_a_server_that_forgot_its_scripts_is_told_them_again(redis_url: str) -> None:
    async def work(wire: Wire) -> None:
        await echoes(wire, 5)
        with redis.Redis.from_url(redis_url) as other:
            other.script_flush()
        assert await echoes(wire, 5) == expected(5)

    with_wire(redis_url, work)


def test_a_broken_connection_is_made_anew(redis_url: str) -> None:
    async def work(wire: Wire) -> None:
        with redis.Redis.from_url(redis_url) as other:
            for _ in range(20):
                await echoes(wire, 5)
                other.client_kill_filter(_type="normal", skipme=True)
                assert await echoes(wire, 5) == expected(5)

    with_wire(redis_url, work)


def test_an_error_of_one_script_is_its_own(redis_url: str) -> None:
    async def work(wire: Wire) -> None:
        wrong, right = await asyncio.gather(
            wire.script("return redis.call('NO')", [], []), wire.script(ECHO, [], [7]), return_exceptions=True
        )
        assert isinstance(wrong, ResponseError)
        assert right == b"7"

    with_wire(redis_url, work)


def test_a_late_reply_is_an_error_and_never_that_of_a_later_call(redis_url: str) -> None:
    async def work(wire: Wire) -> None:
        await echoes(wire, 1)
        with pytest.raises(TimeoutError):
            await wire.script(BUSY, [], ["late"])
        for attempt in range(50):
            try:
                assert await wire.script(ECHO, [], [attempt]) == str(attempt).encode()
                return
            except RedisError:
                await asyncio.sleep(0.1)
        pytest.fail("the server did not come back")

    with_wire(redis_url, work, timeout_s=0.3)


def test_a_server_that_is_away_is_an_error_for_all_who_wait_for_it() -> None:
    async def work(wire: Wire) -> None:
        found = await asyncio.gather(*(wire.script(ECHO, [], []) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(error, RedisError) for error in found)

    with_wire("redis://127.0.0.1:1/0", work)
