"""The speed views of one contract and lane: from accepted events to absolute partials in Redis.

Each micro-batch runs one action, then writes behind the fence: windows, indexes, accepted minutes, late minutes, and
the progress record last. A replayed batch writes the same bytes.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import redis
import structlog
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from intake.source import Source, refuse_lost
from quality.stream_check import valid_events
from runtime.storage_trouble import root_cause, storage_trouble
from streaming.batch_facts import BatchFacts, read_batch_facts
from streaming.begin_anew import remove_checkpoint, sealed_since
from streaming.checkpoint_check import check_files
from streaming.checkpoint_log import CheckpointLog, Commit, PositionTracker
from streaming.checkpoint_note import CheckpointNote, NoteFile
from streaming.covered_from import cover_families, unseen_by_new
from streaming.fenced_writer import Command, FencedWriter, answering
from streaming.late_minutes import late_minutes, of_open_windows, tell_late
from streaming.poison import Suspects
from streaming.query_lane import QueryLane, Session
from streaming.rebuild import covered_again, forget_pointers, removals, restore_open_windows, wipe_views
from streaming.sources import read_source
from streaming.speed_progress import SpeedProgress
from streaming.speed_views import (
    accept_once,
    add_bucket,
    aggregate_state,
    bucket_s,
    columns_read,
    explode_families,
    keep_unsealed,
    observe_events,
    watermark_delay_s,
)
from streaming.view_rows import ViewRows
from tidemark import keys
from tidemark.contracts import ContractSet
from tidemark.errors import CheckpointDamaged, TidemarkError
from tidemark.keys import LakeTables
from tidemark.metrics.model import Metric

LOG = structlog.get_logger()


class SpeedLane(QueryLane):
    """`metrics`: those of this lane. `failed`: metrics that fail when they run, name → with what; the lane leaves them
    out, and adds those that it finds. `now_s`: the clock, seconds."""

    def __init__(
        self,
        session: Session,
        settings: Settings,
        contract: ContractSet,
        lane: str,
        metrics: Sequence[Metric],
        source: Source,
        client: redis.Redis,
        failed: dict[str, str] | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(session, settings, contract, lane)
        self._failed = {} if failed is None else failed
        self._metrics = tuple(metric for metric in metrics if metric.name not in self._failed)
        self._left_out = {metric.name for metric in metrics} & set(self._failed)
        self._source = source
        self._client = client
        self._now_s = now_s
        self._log = CheckpointLog(self.checkpoint)
        self._notes = NoteFile(self.checkpoint)
        self._rows = ViewRows(contract.name, self._metrics)
        self._note = CheckpointNote("", settings.source)  # until `prepare`
        self._writer: FencedWriter
        self._position: PositionTracker
        key = keys.progress(contract.name, lane)
        self._progress = SpeedProgress(key, bucket_s(contract.newest), source, now_s)

    def has_work(self) -> bool:
        """Whether a start would change anything: unread records, an unfinished batch, other metrics, lost views."""
        note, commit = self._notes.read(), self._log.last_commit()
        if note is None or commit is None:
            return self._source.has_data()
        if set(note.families) != {metric.family for metric in self._metrics} or not self._log.is_settled():
            return True
        writer = FencedWriter(self._client, self.contract.name, self.lane, note.identity)
        behind = self._source.backlog(PositionTracker(self._log).position).records
        return behind > 0 or not self._views_intact(writer, commit)

    def has_commits(self) -> bool:
        return self._log.last_commit() is not None

    def covered_from(self) -> dict[str, int | None]:
        """family → event time from which its windows are complete, as stored beside the checkpoint."""
        note = self._notes.read()
        return dict(note.families) if note else {}

    def restore(self) -> str:
        """Bring the views back without running the query: `intact`, `restored`, or `none yet`."""
        note, commit = self._notes.read(), self._log.last_commit()
        if note is None or commit is None:
            return "none yet"
        if self._views_intact(FencedWriter(self._client, self.contract.name, self.lane, note.identity), commit):
            return "intact"
        self.prepare()
        return "restored"

    def start(self, *, once: bool) -> None:
        """Take over from any older writer, repair what Redis lost, then run. `once`: end when all is read.

        SourceLost when the source no longer has what comes next.
        """
        noted = self._notes.read()
        refuse_lost(self._source, self._log.consumed_position(), noted.log_id if noted else None, self.name)
        self.prepare()
        self._note = self._notes.update(self._note, log_id=self._note.log_id or self._source.log_id())
        every = f"{self.settings.speed_trigger_s} seconds"
        self.launch({"availableNow": True} if once else {"processingTime": every}, "update")

    def prepare(self) -> None:
        """Everything of a start but the query. ViewsUnavailable when Redis does not answer."""
        # After a failover behind one name, an open connection would go on talking to the old primary.
        self._client.connection_pool.disconnect(inuse_connections=False)
        with answering(self.name):
            self._take_over()

    def _take_over(self) -> None:
        check_files(self.checkpoint)
        commit, self._position = self._log.last_commit(), PositionTracker(self._log)
        if commit is not None and self._notes.read() is None:
            # What its views cover stood there: guessed, it would leave out windows that only a new reading brings back.
            raise CheckpointDamaged(self.checkpoint, "tidemark.json", "is missing")
        self._note = self._notes.read_or_create(self.settings.source, self._known_before)
        self._writer = FencedWriter(self._client, self.contract.name, self.lane, self._note.identity)
        intact = self._views_intact(self._writer, commit)
        epoch = self._writer.claim(self._note.epoch, commit.batch if commit else -1, intact=intact)
        # Trap: whoever is replaced here may have committed batches since, and noted their late minutes.
        self._note = self._notes.read_again(self._note)
        self._position.keep_only(set(self._source.end_position().get("segments", ())))
        known = self._note.families if intact else covered_again(self._metrics, self._note.families, commit)
        delay_s = max(self._note.delay_s, watermark_delay_s(self.contract.newest))
        now_s = self._now_s()
        unseen = unseen_by_new(commit, self._source, self.contract.newest, delay_s, now_s)
        families = cover_families(self._metrics, known, unseen.and_before(self._note.since))
        self._note = self._notes.update(self._note, epoch=epoch, delay_s=delay_s, families=families)
        held = self._client.get(keys.progress(self.contract.name, self.lane))
        self._progress.resume(held, commit, self._note, self._position.position, self._failures())
        # One batch: only its last script says that the views are whole again.
        repair = () if intact else self._repair(commit)
        if commit is not None:
            self._writer.write(commit.batch, repair, [self._progress.command()])
        elif not intact:
            self._writer.write(-1, repair)

    def reset(self) -> bool:
        """Begin a new checkpoint and take over with it, so that no older writer goes on; whether there was an old one.

        The views go: the next start fills them from what the source holds, from `sealed_through` on.
        """
        epoch = self._epoch_before()
        existed = remove_checkpoint(self.checkpoint)
        self._note = self._notes.read_or_create(self.settings.source, self._known_before)
        writer = FencedWriter(self._client, self.contract.name, self.lane, self._note.identity)
        self._note = self._notes.update(self._note, epoch=writer.claim(epoch, -1, intact=False))
        with answering(f"{self.name}: views not removed"):
            wipe_views(writer, -1, self._metrics, self._note.since)
        unseen = unseen_by_new(None, self._source, self.contract.newest, 0, self._now_s())
        families = cover_families(self._metrics, {}, unseen.and_before(self._note.since))
        self._note = self._notes.update(self._note, families=families)
        return existed

    def _epoch_before(self) -> int:
        try:
            note = self._notes.read()
        except CheckpointDamaged:
            return 0
        return note.epoch if note else 0

    def _known_before(self) -> dict[str, int | None]:
        return {"since": sealed_since(LakeTables(self.settings.lake_uri), self._metrics)}

    def frame(self) -> DataFrame:
        records = read_source(self.spark, self.settings, self.contract.name)
        columns = columns_read(self.contract, self._metrics)
        return (
            valid_events(records, self.contract, self.settings, columns)
            .transform(add_bucket, self.contract)
            .transform(observe_events, self.contract)
            .transform(keep_unsealed, self._note.since)
            .transform(accept_once, self.contract)
            .transform(explode_families, self._metrics, self.lane)
            .transform(aggregate_state, self.lane)
        )

    def handle(self, frame: DataFrame, query: StreamingQuery, batch: int) -> None:
        # All slots, also those that no metric reads: what is not selected, Spark takes out of the state's schema, too.
        rows = frame.toArrow()
        facts = read_batch_facts(query, batch)
        late = self._remember_late(facts)
        self._progress.advance(facts, self._note, self._position.advance(facts.batch), self._failures())
        # Late minutes first: no reader sees a window that lacks them before it is told so.
        commands = [*tell_late(self.contract.name, self.lane, late), *self._rows.commands(rows)]
        self._writer.write(batch, commands, [self._progress.command()])

    def mend(self, error: BaseException) -> bool:
        """Leave out the metrics that the batch in hand fails with; the others go on, their state untouched."""
        if isinstance(error, TidemarkError) or storage_trouble(error):
            return False
        suspects = Suspects(self.spark, self.settings, self.contract, self.lane)
        guilty = suspects.guilty(self._log, self._metrics)
        for name, trouble in guilty.items():
            self._failed[name] = root_cause(trouble)
            LOG.error("metric fails when it runs, left out", query=self.name, metric=name, error=self._failed[name])
        self._left_out |= set(guilty)
        self._metrics = tuple(metric for metric in self._metrics if metric.name not in guilty)
        self._rows = ViewRows(self.contract.name, self._metrics)
        return bool(guilty)

    def holds_views(self) -> bool:
        """Whether Redis still has what this lane wrote; StaleWriter when another stream took over."""
        return self._writer.holds()

    def forget_segments(self, existing: set[str]) -> None:
        with self._in_batch:
            self._position.keep_only(existing)

    def _views_intact(self, writer: FencedWriter, commit: Commit | None) -> bool:
        """Whether Redis holds the views of this checkpoint, up to its last commit."""
        fence = writer.fence()
        if fence is None or fence.checkpoint != writer.checkpoint or fence.batch < (commit.batch if commit else -1):
            return False
        return bool(self._client.exists(keys.progress(self.contract.name, self.lane)))

    def _repair(self, commit: Commit | None) -> Iterable[Command]:
        """What empties the lane's views, then restores what the state holds."""
        emptied = removals(self._writer, self._metrics, self._note.since)
        if commit is None:
            return emptied
        forget_pointers(self._client)
        rows = restore_open_windows(self.spark, self.checkpoint, self.lane, commit)
        return chain(emptied, self._rows.commands(rows), tell_late(self.contract.name, self.lane, self._note.late))

    def _failures(self) -> dict[str, str]:
        """Metrics that are left out, with what they fail."""
        return {name: self._failed[name] for name in sorted(self._left_out)}

    def _remember_late(self, facts: BatchFacts) -> list[int]:
        """Late minutes of the batch. Durable before the commit: a rebuilt Redis needs those of open windows."""
        minutes = late_minutes(facts, self._note.since)
        if minutes:
            kept = of_open_windows((*self._note.late, *minutes), facts.late_through)
            self._note = self._notes.update(self._note, late=kept)
        return minutes
