"""Redis as serving sees it: few round trips, short time-outs, and one error for every way in which it can be away."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, cast

import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisError

from serving.wire import Argument, Wire
from tidemark.errors import ViewsUnavailable
from tidemark.keys import SENTINEL

TIMEOUT_S = 0.8
"""Of connecting and of each reply: a Redis that hangs must not make sealed answers slow."""
HASHES_PER_CALL = 64

_FIELD_OF_EACH = """
local found = {}
for i, key in ipairs(KEYS) do found[i] = redis.call('HMGET', key, ARGV[1], ARGV[2]) end
return found
"""
_RENEW_PAIR = """
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[3])
return redis.call('EXPIRE', KEYS[2], ARGV[3])
"""
_FIRST_WITH_FIELD = """
for i, key in ipairs(KEYS) do
  if redis.call('HEXISTS', key, ARGV[1]) == 1 then return i end
end
return 0
"""


class Views:
    """Reads of Redis. Every method raises ViewsUnavailable when the server does not answer in time.

    `client` None: the embedded server could not be started; sealed answers still come from the lake.
    """

    def __init__(self, client: aioredis.Redis | None) -> None:
        self._client = client
        self._wire = Wire(client.connection_pool.make_connection, TIMEOUT_S) if client is not None else None

    @classmethod
    def connect(cls, url: str | None) -> Self:
        """Connects lazily: a server that is away is noticed by the first read."""
        if url is None:
            return cls(None)
        client = aioredis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 1, (ConnectionError,)),  # one for a connection that a restart broke
            protocol=2,
        )
        return cls(client)

    @property
    def _redis(self) -> aioredis.Redis:
        if self._client is None:
            raise ViewsUnavailable("Redis: not started")
        return self._client

    async def close(self) -> None:
        if self._client is not None and self._wire is not None:
            await self._wire.close()
            await self._client.aclose()

    async def ping(self) -> None:
        await _guarded(self._redis.ping())

    async def memory_bytes(self) -> tuple[int, int]:
        """Used, and the limit; 0 = without a limit."""
        info = await _guarded(self._redis.info("memory"))
        return int(info["used_memory"]), int(info["maxmemory"])

    async def pipeline(self, queue: Callable[[Any], object]) -> list[Any]:
        """Replies of the commands that `queue` puts on a pipeline: one round trip, no transaction."""
        pipe = self._redis.pipeline(transaction=False)
        queue(pipe)
        return cast(list[Any], await _guarded(pipe.execute()))

    async def field_of_each(self, keys: Sequence[str], field: bytes) -> list[tuple[bytes | None, bytes | None]]:
        """Per hash, in order: the field and the sentinel of sealed hashes. One atomic call."""
        if not keys:
            return []
        rows = await self.script(_FIELD_OF_EACH, keys, field, SENTINEL)
        return [(row[0], row[1]) for row in rows]

    async def whole_hashes(self, keys: Sequence[str]) -> list[dict[bytes, bytes]]:
        """Per hash, in order: all fields; empty where there is no such hash. A few bounded round trips."""
        hashes: list[dict[bytes, bytes]] = []
        for first in range(0, len(keys), HASHES_PER_CALL):
            hashes += await self._hashes(keys[first : first + HASHES_PER_CALL])
        return hashes

    async def _hashes(self, keys: Sequence[str]) -> list[dict[bytes, bytes]]:
        return await self.pipeline(lambda pipe: [pipe.hgetall(key) for key in keys])

    async def first_with_field(self, keys: Sequence[str], field: bytes) -> int | None:
        """Index of the first hash that has the field."""
        if not keys:
            return None
        position = int(await self.script(_FIRST_WITH_FIELD, keys, field))
        return position - 1 if position else None

    async def keep_pair(self, keys: tuple[str, str], answer: bytes, basis: bytes | None, seconds: int) -> None:
        """Keep an answer and what it was built on for a while, as one step; without a basis an older one's goes."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.set(keys[0], answer, ex=seconds)
        if basis is None:
            pipe.delete(keys[1])
        else:
            pipe.set(keys[1], basis, ex=seconds)
        await _guarded(pipe.execute())

    async def renew_pair(self, keys: tuple[str, str], answer: bytes, basis: bytes, seconds: int) -> None:
        """Put an answer that was given again in place of itself, unless another basis has come meanwhile."""
        await self.script(_RENEW_PAIR, keys, answer, basis, seconds)

    async def command(self, *command: Argument) -> Any:
        """Reply of one command that may run twice."""
        return await _guarded(self._wired.command(*command))

    async def script(self, text: str, keys: Sequence[str], *arguments: Argument) -> Any:
        """Reply of a Lua script that only reads: one round trip, atomic."""
        return await _guarded(self._wired.script(text, keys, arguments))

    @property
    def _wired(self) -> Wire:
        if self._wire is None:
            raise ViewsUnavailable("Redis: not started")
        return self._wire


async def _guarded(reply: Awaitable[Any]) -> Any:
    try:
        return await reply
    except (RedisError, OSError, TimeoutError) as error:
        raise ViewsUnavailable(f"Redis: {type(error).__name__}") from error
