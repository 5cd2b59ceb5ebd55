"""What all requests ask of Redis, over one connection: the calls of one turn of the loop leave in one write, and
replies come in their order.

The client library takes a connection, a lock and several coroutines for each call; here a call is one future, at a
fifth of its CPU. The library still opens the connection (address, TLS, password, database), then this protocol
takes its transport over.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

Argument = bytes | int | str


class Wire:
    """Connects with the first call, and anew after a break. From one event loop. A call may run twice.

    Calls raise redis-py's errors, TimeoutError when a reply takes longer than `timeout_s`; the calls behind it fail
    with it, because their replies would come after it.
    """

    def __init__(self, connection: Callable[[], AbstractConnection], timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._link: _Link | None = None
        self._linking: asyncio.Task[_Link] | None = None

    async def script(self, text: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """Reply of a Lua script."""
        return await self._ask(lambda link: link.script(text, keys, arguments))

    async def command(self, *command: Argument) -> Any:
        """Reply of one command, as bytes, integers and lists."""
        return await self._ask(lambda link: link.call(*command))

    async def _ask(self, call: "Callable[[_Link], Awaitable[Any]]") -> Any:
        link = self._link
        if link is not None and not link.lost:
            try:
                return await call(link)
            except ConnectionError:
                pass  # a restart broke the connection: once more, which is right for what changes nothing when repeated
        return await call(await self._linked())

    async def close(self) -> None:
        if self._linking is not None:
            self._linking.cancel()
        if self._link is not None:
            await self._link.close()

    async def _linked(self) -> "_Link":
        """The connection; all who miss it wait for the same attempt."""
        if self._link is not None and not self._link.lost:
            return self._link
        if self._linking is None:
            self._linking = asyncio.create_task(self._connect())
            self._linking.add_done_callback(self._attempted)
        return await asyncio.shield(self._linking)

    async def _connect(self) -> "_Link":
        if self._link is not None:
            await self._link.close()
        connection = self._connection()
        await connection.connect()  # type: ignore[no-untyped-call]
        self._link = _Link(connection, self._timeout_s)
        return self._link

    def _attempted(self, attempt: "asyncio.Task[_Link]") -> None:
        self._linking = None
        if not attempt.cancelled():
            attempt.exception()  # read once: whoever waited may have left


class _Waiting(NamedTuple):
    reply: "asyncio.Future[Any]"
    since: float


class _Link(asyncio.Protocol):
    """One open connection."""

    def __init__(self, connection: AbstractConnection, timeout_s: float) -> None:
        self.lost = False
        self._owner = connection
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._replies = hiredis.Reader(replyError=ResponseError, protocolError=ConnectionError)
        self._waiting: deque[_Waiting] = deque()
        self._unsent: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        writer = connection._writer
        assert writer is not None
        self._transport: Any = writer.transport
        self._transport.set_protocol(self)

    async def script(self, text: str, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """The text travels only to a server that does not know it."""
        try:
            return await self.call("EVALSHA", _digest(text), len(keys), *keys, *arguments)
        except ResponseError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        return await self.call("EVAL", text, len(keys), *keys, *arguments)

    def call(self, *command: Argument) -> "asyncio.Future[Any]":
        reply = self._loop.create_future()
        if self.lost:
            reply.set_exception(ConnectionError("the connection was lost"))
            return reply
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub knows one-tuples only
        now = self._loop.time()
        self._waiting.append(_Waiting(reply, now))
        if self._watch is None:
            self._watch = self._loop.call_at(now + self._timeout_s, self._look)
        return reply

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if not self.lost:
            self._transport.write(b"".join(unsent))

    def data_received(self, data: bytes) -> None:
        self._replies.feed(data)
        try:
            while (found := self._replies.gets()) is not False:
                reply = self._waiting.popleft().reply
                if reply.done():
                    continue  # who asked has left
                if isinstance(found, ResponseError):
                    reply.set_exception(found)
                else:
                    reply.set_result(found)
        except ConnectionError as error:
            self._give_up(error)

    def connection_lost(self, _: Exception | None) -> None:
        self._give_up(ConnectionError("the connection was lost"))

    def _look(self) -> None:
        """Whether the oldest call has waited too long."""
        self._watch = None
        if self._waiting:
            due = self._waiting[0].since + self._timeout_s
            if due <= self._loop.time():
                self._give_up(TimeoutError("no reply in time"))
            else:
                self._watch = self._loop.call_at(due, self._look)

    def _give_up(self, error: Exception) -> None:
        self.lost = True
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            if not each.reply.done():
                each.reply.set_exception(error)
        self._transport.abort()

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._give_up(ConnectionError("the connection was closed"))
        await self._owner.disconnect(nowait=True)


@lru_cache(maxsize=32)
def _digest(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
