"""What a peer's program is told, and what it reports. Runs in the peer's own environment: standard library only.

The job: read `events` access records from `topic`, aggregate access_count per device and 10 minutes of event time, and
leave for each window a Redis hash `peer:<start, epoch s>` of device → `count,sum,min,max,avg`.
"""

import json
import os
import time
from pathlib import Path

BOOTSTRAP = os.environ["PEER_BOOTSTRAP"]
TOPIC = os.environ["PEER_TOPIC"]
REDIS = os.environ["PEER_REDIS"]
EVENTS = int(os.environ["PEER_EVENTS"])
"""At least ENDLESS: the topic does not end, and the program is stopped from outside."""
ENDLESS = 2**62
FOLDER = Path(os.environ["PEER_FOLDER"])
"""Empty when the program starts."""
FLUSH_S = float(os.environ["PEER_FLUSH_S"])
"""How often a program that updates Redis continuously does so."""
WINDOW_S = 600
GRACE_S = 3600
"""Long enough that no peer drops a record, however it interleaves the partitions of a backlog."""


class Marks:
    """Wall clock of the first record, of the first quarter, and of the end."""

    def __init__(self) -> None:
        self._quarter = EVENTS // 4
        self._seen = 0
        self._first = self._at_quarter = 0.0

    def seen(self, records: int) -> int:
        """Count records; how many in all."""
        if not self._first:
            self._first = time.time()
        self._seen += records
        if not self._at_quarter and self._seen >= self._quarter:
            self._quarter, self._at_quarter = self._seen, time.time()
        return self._seen

    def end(self) -> None:
        """Every result is in its place: report."""
        write_marks(self._first, self._at_quarter, self._quarter, time.time())


def write_marks(first: float, at_quarter: float | None, quarter: int, last: float) -> None:
    """`at_quarter` None: a program that cannot tell."""
    document = {"first": first, "at_quarter": at_quarter, "quarter": quarter, "last": last}
    half = FOLDER / "marks.part"
    half.write_text(json.dumps(document), encoding="ascii")
    half.rename(FOLDER / "marks.json")


def packed(count: int, total: int, least: int, most: int) -> str:
    """The value that a window's hash holds for a device."""
    return f"{count},{total},{least},{most},{total / count!r}"
