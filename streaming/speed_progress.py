"""The progress record of a speed lane: up to where in event time, and as of when, the views hold what was received."""

import math
from collections.abc import Callable, Iterable, Mapping

from intake.position import Position
from intake.source import Source
from streaming.batch_facts import BatchFacts
from streaming.checkpoint_log import Commit
from streaming.checkpoint_note import CheckpointNote
from streaming.fenced_writer import Command
from streaming.sources.kafka import may_have_left
from tidemark.errors import Fault
from tidemark.progress import Progress


class SpeedProgress:
    """`record`: as it stands after the last batch. `bucket_s`: of event time, by which lateness goes; `now_s`: the
    clock. Both in seconds."""

    record: Progress

    def __init__(self, key: str, bucket_s: int, source: Source, now_s: Callable[[], float]) -> None:
        self._key, self._bucket_s, self._source, self._now_s = key, bucket_s, source, now_s

    def resume(
        self,
        held: bytes | str | None,
        commit: Commit | None,
        note: CheckpointNote,
        position: Position,
        failed: Mapping[str, str],
    ) -> None:
        """Where the lane stands before its first batch of this run. `held`: the record that Redis still has."""
        before = Progress.from_json(held) if held else None
        guess = commit.next_watermark_s + note.delay_s if commit and commit.next_watermark_s else None
        self.record = Progress(
            epoch=note.epoch,
            batch=commit.batch if commit else -1,
            as_of=self._as_of(before, note.families, self._read_through(commit, position)),
            watermark=commit.watermark_s + self._bucket_s if commit and commit.watermark_s else None,
            max_event_time=before.max_event_time if before else guess,
            position=position,
            families=note.families,
            failed=dict(failed),
        )

    def advance(self, facts: BatchFacts, note: CheckpointNote, position: Position, failed: Mapping[str, str]) -> None:
        """After a batch. Trap: never count up from the record in hand: a replay would count twice."""
        before = self.record
        seen = [t for t in (before.max_event_time, facts.max_event_time) if t is not None]
        received = min(facts.received_through or 0.0, facts.planned_at)
        if may_have_left(before.position, position):
            received = min(received, self._unread_since(position))
        self.record = Progress(
            epoch=note.epoch,
            batch=facts.batch,
            # What a clock that has been set back since had written is no more than what is planned now.
            as_of=max(min(before.as_of, facts.planned_at), received) if before.batch >= 0 else received,
            watermark=None if facts.watermark is None else facts.watermark + self._bucket_s,
            max_event_time=max(seen, default=None),
            position=position,
            families=note.families,
            failed=dict(failed),
        )

    def command(self) -> Command:
        """What writes the record."""
        return ("SET", self._key, self.record.to_json())

    @staticmethod
    def _as_of(before: Progress | None, families: Iterable[str], read_through: float) -> float:
        """As of when the views hold all that was received, of every metric.

        Trap: a batch that is in the views and not committed speaks only for the metrics that it ran with.
        """
        if before is None:
            return read_through
        return before.as_of if before.families.keys() >= set(families) else min(before.as_of, read_through)

    def _read_through(self, commit: Commit | None, position: Position) -> float:
        """As of when the committed batches hold all that was received, without the record that said so.

        Trap: not the time at which the last one was planned. It may have been one of many that work off a backlog.
        """
        if commit is None:
            return self._now_s()
        return min(commit.planned_at, self._unread_since(position))

    def _unread_since(self, position: Position) -> float:
        """When the oldest record behind a position was received; infinity: there is none, 0: it is not known."""
        try:
            unread = self._source.backlog(position)
        except Fault:
            return 0.0
        if unread.records == 0:
            return math.inf
        return unread.oldest_received_at.timestamp() if unread.oldest_received_at else 0.0
