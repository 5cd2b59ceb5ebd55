"""Whether the source holds records that a streaming query has not taken: what tells "idle" from "stopped"."""

import asyncio
import time
from collections.abc import Callable

from intake.source import Backlog, Source
from tidemark.progress import Progress

KEPT_S = 0.5
"""How long one look at the source is used for the same progress: an acknowledged event is seen at most this late."""


class Backlogs:
    """The newest look at the source per (contract, lane)."""

    def __init__(self, source_of: Callable[[str], Source]) -> None:
        self._source_of = source_of
        self._looks: dict[tuple[str, str], tuple[float, tuple[int, int] | None, Backlog]] = {}

    async def of(self, contract: str, lane: str, progress: Progress | None) -> Backlog:
        """What lies behind a lane's progress (None: it never wrote). Raises Fault when the source is in trouble."""
        mark = None if progress is None else (progress.epoch, progress.batch)
        known = self._looks.get((contract, lane))
        if known is not None and known[1] == mark and time.monotonic() - known[0] < KEPT_S:
            return known[2]
        position = None if progress is None else progress.position
        backlog = await asyncio.to_thread(self._source_of(contract).backlog, position)
        self._looks[contract, lane] = (time.monotonic(), mark, backlog)
        return backlog

    async def ever_came(self, contract: str) -> int:
        """Records ever appended. Trap: an empty source may be one from which all was read and cleaned away."""
        return await asyncio.to_thread(self._source_of(contract).appended_ever)

    def forget(self, contract: str) -> None:
        """After an append through this process: the next question looks again."""
        for key in [key for key in self._looks if key[0] == contract]:
            del self._looks[key]
