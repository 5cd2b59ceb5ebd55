"""Whether a metric's answers rest on too many refused records lately."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from tidemark.metrics.model import Metric
from tidemark.progress import Progress

RECENT_S = 600.0
SAMPLE_EVERY_S = 5.0
ENOUGH_RECORDS = 100
"""Fewer records than this say nothing by themselves: one bad record in three is no outage."""


class _Sample(NamedTuple):
    at: float
    received: int
    quarantined: int


class QualityWatch:
    """Shares of valid records per contract, from the lake writer's cumulative counts as this process has seen them.

    Recent means since the sample of ten minutes ago, or the first. Until enough records have come since then, it is
    the share over all that the checkpoint has counted: what a process that has just started knows.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: dict[str, deque[_Sample]] = {}

    def valid_share(self, contract: str, lake: Progress | None) -> float | None:
        """None before the first record."""
        if lake is None or not lake.records.get("received"):
            return None
        newest = _Sample(self._clock(), lake.records["received"], lake.records.get("quarantined", 0))
        base = self._base(contract, newest)
        received, quarantined = newest.received - base.received, newest.quarantined - base.quarantined
        if received < ENOUGH_RECORDS:
            received, quarantined = newest.received, newest.quarantined
        return 1 - quarantined / received

    def mark(self, metric: Metric, lake: Progress | None) -> dict[str, Any]:
        """`{"degraded": true, "quality": share}` below the metric's `min_quality`; else an answer gets nothing."""
        if metric.min_quality is None:
            return {}
        share = self.valid_share(metric.contract, lake)
        if share is None or share >= metric.min_quality:
            return {}
        return {"degraded": True, "quality": round(share, 6)}

    def _base(self, contract: str, newest: _Sample) -> _Sample:
        """The sample to count from. Counts that went back are of a new checkpoint: the watch begins again."""
        samples = self._samples.setdefault(contract, deque())
        if samples and samples[-1].received > newest.received:
            samples.clear()
        if not samples or newest.at - samples[-1].at >= SAMPLE_EVERY_S:
            samples.append(newest)
        while len(samples) > 1 and newest.at - samples[1].at >= RECENT_S:
            samples.popleft()
        return samples[0]
