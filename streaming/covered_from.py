"""From which event time on a family's windows are complete."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from intake.source import Source
from streaming.checkpoint_log import Commit
from streaming.speed_views import bucket_s
from tidemark.contracts import Contract
from tidemark.metrics.model import Metric
from tidemark.windows import ceil_to

MAX_AHEAD_S = 3600
"""An event further ahead of its reception is quarantined, so what was received by t happened before t + this."""


@dataclass(frozen=True, slots=True)
class Unseen:
    """`after_s`: events that a family added now would lack all happened before it. None: it lacks none."""

    after_s: float | None

    def and_before(self, since: int | None) -> "Unseen":
        """The same, and no event before `since`."""
        edges = [edge for edge in (self.after_s, since) if edge is not None]
        return Unseen(max(edges, default=None))


def unseen_by_new(commit: Commit | None, source: Source, contract: Contract, delay_s: int, now_s: float) -> Unseen:
    """What a family that starts with the next batch will not see.

    Until a committed batch has counted an event: only what was cleaned out of the source. Later: everything committed;
    its newest event lies below the committed watermark + the longest delay ever used + one bucket.
    """
    if commit is not None and commit.next_watermark_s > 0:
        return Unseen(commit.next_watermark_s + delay_s + bucket_s(contract))
    if source.removed_ever() == 0:
        return Unseen(None)
    stored = source.backlog(None)
    oldest_s = stored.oldest_received_at.timestamp() if stored.oldest_received_at else now_s
    return Unseen(oldest_s + MAX_AHEAD_S)


def cover_families(metrics: Iterable[Metric], known: Mapping[str, int | None], unseen: Unseen) -> dict[str, int | None]:
    """family → first edge of its longest window from which nothing is missing; None: from the beginning.

    Families that are known keep theirs; one that left and came back starts anew, for its state has a hole.
    """
    fresh = unseen.after_s
    return {
        metric.family: known[metric.family]
        if metric.family in known
        else (None if fresh is None else ceil_to(fresh, metric.granule_s))
        for metric in metrics
    }
