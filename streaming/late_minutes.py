"""Minutes in which an event was dropped as late: readers are told of them, and a rebuilt Redis must tell again."""

from collections.abc import Iterable

from streaming.batch_facts import BatchFacts
from streaming.fenced_writer import Command
from tidemark import keys
from tidemark.keys import EVENTS_WINDOW_S
from tidemark.windows import WINDOWS, floor_to

_LONGEST_S = max(WINDOWS.values())


def late_minutes(facts: BatchFacts, since: int | None) -> list[int]:
    """Starts of the minutes in which a micro-batch left events out, in order; none before `since`."""
    minutes = {floor_to(bucket, EVENTS_WINDOW_S) for bucket in facts.late_buckets}
    return sorted(minute for minute in minutes if since is None or minute >= since)


def of_open_windows(minutes: Iterable[int], late_through: int) -> tuple[int, ...]:
    """Those of windows that may still be in the state: the batch alone knows of the others."""
    open_since = floor_to(late_through, _LONGEST_S)
    return tuple(sorted({minute for minute in minutes if minute >= open_since}))


def tell_late(contract: str, lane: str, minutes: Iterable[int]) -> list[Command]:
    """The commands that tell readers."""
    key = keys.late(contract, lane)
    return [("ZADD", key, minute, minute) for minute in minutes]
