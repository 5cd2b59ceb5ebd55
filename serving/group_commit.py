"""Durable appends in groups: while one append is under way the next records gather, and share its successor.

So a thousand small posts cost a few segments instead of a thousand, nobody waits for a timer, and no request is
answered before its records are durable. Trap: a caller that gives up does not withdraw its records.
"""

import asyncio
from dataclasses import dataclass, field

from intake.source import Source
from serving.problems import Problem

PENDING_LIMIT_BYTES = 64 * 1024 * 1024
"""Records waiting for the disk beyond which posts are refused with 503, so that memory stays bounded."""


@dataclass(slots=True)
class _Group:
    done: asyncio.Future[None]
    records: list[bytes] = field(default_factory=list)


class GroupCommit:
    """Appends of one contract, from one event loop."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._gathering: _Group | None = None
        self._pending_bytes = 0
        self._worker: asyncio.Task[None] | None = None

    async def append(self, records: list[bytes]) -> None:
        """Returns when the records are durable. Raises the source's Fault, Problem 503 when too much is waiting."""
        size_bytes = sum(map(len, records))
        if self._pending_bytes + size_bytes > PENDING_LIMIT_BYTES:
            raise Problem(503, "busy", "too many events are waiting to be stored; try again", {"Retry-After": "1"})
        self._pending_bytes += size_bytes
        try:
            await asyncio.shield(self._join(records))
        finally:
            self._pending_bytes -= size_bytes

    def _join(self, records: list[bytes]) -> asyncio.Future[None]:
        if self._gathering is None:
            self._gathering = _Group(asyncio.get_running_loop().create_future())
        group = self._gathering
        group.records += records
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._commit())
        return group.done

    async def _commit(self) -> None:
        while self._gathering is not None:
            group, self._gathering = self._gathering, None
            try:
                await asyncio.to_thread(self._source.append, group.records)
            except Exception as error:  # noqa: BLE001  handed to every waiting request, which answers it
                _settle(group.done, error)
            else:
                _settle(group.done, None)


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
        done.exception()  # read once, so that a group whose callers all left does not complain at collection
