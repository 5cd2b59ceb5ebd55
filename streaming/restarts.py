"""When a query fails: start it again a few times, ever later, then give up and say which and why.

A store that is away (Redis, the source's broker) is not the query's failure: it is waited for, as long as it takes, and
the contract's other queries go on meanwhile. Only `--once` gives up on it: whoever started that waits for its end.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from runtime.storage_trouble import root_cause, storage_trouble
from streaming.checkpoint_check import find_damage
from streaming.outages import is_outage
from streaming.query_lane import QueryLane
from tidemark.errors import CheckpointDamaged, Fault, SourceLost, StaleWriter, TidemarkError, UserError

LOG = structlog.get_logger()
LIMIT = 4
"""Failures within FORGET_S after which a query is given up."""
FORGET_S = 600.0
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 8.0
"""Between two attempts while a store is away: how long it may be back before the query notices."""


class QueryFailed(Fault):
    """A streaming query failed and did not recover."""


@dataclass(slots=True)
class _History:
    failures: int = 0
    outages: int = 0
    last_s: float = 0.0
    again_at_s: float | None = None
    trouble: str | None = None
    """What a disk said. A library that Java could not unpack fails later attempts without a word of the disk."""

    def told(self, error: BaseException) -> str:
        last = describe(error)
        return last if self.trouble in (None, last) else f"{self.trouble}; last: {last}"


class Restarts:
    """Failures of the lanes of one contract, by lane."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._histories: dict[str, _History] = {}

    def start(self, lane: QueryLane, *, once: bool) -> None:
        """Start a lane; a failure to start counts like any other."""
        try:
            lane.start(once=once)
        except Exception as error:  # noqa: BLE001  whatever it was, it is counted and told
            self._failed(lane, error, once=once)

    def look_after(self, lane: QueryLane, *, once: bool) -> None:
        """Note a failure, or start again when its wait is over. QueryFailed when it failed too often."""
        history = self._histories.get(lane.lane)
        if history is not None and history.again_at_s is not None:
            if self._clock_s() >= history.again_at_s:
                history.again_at_s = None
                self.start(lane, once=once)
        elif lane.finished() and lane.failure is not None:
            self._failed(lane, lane.failure, once=once)

    def is_waiting(self, lane: QueryLane) -> bool:
        history = self._histories.get(lane.lane)
        return history is not None and history.again_at_s is not None

    def _failed(self, lane: QueryLane, error: BaseException, *, once: bool) -> None:
        if isinstance(error, UserError | StaleWriter | SourceLost | CheckpointDamaged):
            raise error
        now_s = self._clock_s()
        history = self._histories.setdefault(lane.lane, _History())
        if now_s - history.last_s > FORGET_S:
            history.failures = history.outages = 0
            history.trouble = None
        history.last_s = now_s
        history.trouble = storage_trouble(error) or history.trouble
        damage = find_damage(lane.checkpoint, error)
        if not once and is_outage(error):
            history.outages += 1
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(history.outages - 1, 10))
        elif damage is None and lane.mend(error):
            wait_s = 0.0
        else:
            history.failures += 1
            if history.failures >= LIMIT:
                failed = QueryFailed(f"{lane.name} failed {history.failures} times: {history.told(error)}")
                raise (damage or failed) from error
            wait_s = FIRST_WAIT_S * 2 ** (history.failures - 1)
        history.again_at_s = now_s + wait_s
        LOG.warning("query failed, starting again", query=lane.name, wait_s=wait_s, error=describe(error))


def describe(error: BaseException) -> str:
    """One line. Errors of Spark carry whole plans and stack traces."""
    if isinstance(error, TidemarkError):
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return storage_trouble(error) or root_cause(error)
