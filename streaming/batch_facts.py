"""What Spark knows of the micro-batch that is running: watermarks, and the metrics observed on its way in.

Read inside foreachBatch, after the action: observed metrics are complete only then. Spark gives them to listeners too,
but after the commit, which is too late for a write that must be all or nothing. Hence the one use of Spark's internals
in Tidemark: `lastExecution` of the query, checked to be that of the batch in hand.
"""

import json
from dataclasses import dataclass
from typing import Any

from pyspark.sql.streaming.query import StreamingQuery

from streaming.speed_views import OBSERVED
from tidemark.errors import Fault


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """Seconds of event time, except `planned_at` and `received_through`, which are wall clock.

    `late_through`: events of buckets that start at or below it were dropped in this batch; Spark begins with 0, so an
    event before 1970 is always late. `watermark`: the same for the next batch; windows that end at or below it have
    left the state; None before the first event.
    """

    batch: int
    late_through: int
    watermark: int | None
    planned_at: float
    valid: int = 0
    max_event_time: float | None = None
    received_through: float | None = None
    buckets: tuple[int, ...] = ()

    @property
    def late_buckets(self) -> tuple[int, ...]:
        """Buckets of events that this batch dropped (some may be repetitions of events counted before)."""
        return tuple(sorted(bucket for bucket in self.buckets if bucket <= self.late_through))


def read_batch_facts(query: StreamingQuery, batch: int) -> BatchFacts:
    """Facts of the running batch of a query; Fault when Spark speaks of another one."""
    execution = query._jsq.streamingQuery().lastExecution()
    if execution is None or execution.currentBatchId() != batch:
        raise Fault(f"batch {batch}: Spark does not tell its watermark")
    before, now = execution.prevOffsetSeqMetadata(), execution.offsetSeqMetadata()
    observed = execution.observedMetrics()
    seen: dict[str, Any] = json.loads(observed.apply(OBSERVED).json()) if observed.contains(OBSERVED) else {}
    return BatchFacts(
        batch=batch,
        late_through=before.get().batchWatermarkMs() // 1000 if before.isDefined() else 0,
        watermark=_seconds(now.batchWatermarkMs()),
        planned_at=now.batchTimestampMs() / 1000,
        valid=seen.get("valid") or 0,
        max_event_time=_micros(seen.get("max_event_us")),
        received_through=_micros(seen.get("max_received_us")),
        buckets=tuple(seen.get("buckets") or ()),
    )


def _seconds(milliseconds: int) -> int | None:
    """Spark's 0 is "no watermark yet"."""
    return milliseconds // 1000 if milliseconds > 0 else None


def _micros(value: int | None) -> float | None:
    return None if value is None else value / 1_000_000
