"""The lake writer of a contract: every record to bronze, valid ones as events, broken ones to quarantine.

Each micro-batch is parsed once, then appended to two Delta tables. Both appends carry the checkpoint's epoch and the
batch number as Delta transaction, so a replayed batch is written once, a new checkpoint never counts as a replay, and
an older one that still runs is refused (see lake_fence).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from delta.tables import DeltaTable
from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from intake.source import Source, refuse_lost
from quality.stream_check import event_columns, parse_events
from runtime.commit_lock import sole_committer
from streaming.begin_anew import days_received, drop_held, remove_checkpoint, take_over_bronze
from streaming.checkpoint_check import check_files
from streaming.checkpoint_log import CheckpointLog, PositionTracker
from streaming.checkpoint_note import CheckpointNote, NoteFile
from streaming.lake_fence import LakeFence
from streaming.query_lane import QueryLane, Session
from streaming.sources import read_source
from tidemark.contracts import ContractSet
from tidemark.keys import LAKE_LANE, LakeTables

_POSITION = ("source", "source_partition", "source_offset")


class LakeWriter(QueryLane):
    """Counts received, valid (with repetitions) and quarantined records; `note` holds them after each batch."""

    def __init__(self, session: Session, settings: Settings, contract: ContractSet, source: Source) -> None:
        super().__init__(session, settings, contract, LAKE_LANE)
        self._source = source
        self._tables = LakeTables(settings.lake_uri)
        self._notes = NoteFile(self.checkpoint)
        self._log = CheckpointLog(self.checkpoint)
        self._fence = LakeFence(self._tables, contract.name)
        self._there: set[str] = set()
        self.note: CheckpointNote

    def last_note(self) -> CheckpointNote | None:
        """The note in hand, or the stored one when this process has not started the query."""
        return getattr(self, "note", None) or self._notes.read()

    def has_work(self) -> bool:
        """Whether there are unread records or a batch that did not finish."""
        position = self._log.consumed_position()
        return self._source.backlog(position).records > 0 or not self._log.is_settled()

    def start(self, *, once: bool) -> None:
        """Run on the checkpoint. `once`: end when all is read. SourceLost when the source lacks what comes next."""
        noted = self._notes.read()
        refuse_lost(self._source, self._log.consumed_position(), noted.log_id if noted else None, self.name)
        self.prepare()
        self.note = self._notes.update(self.note, log_id=self.note.log_id or self._source.log_id())
        every = f"{self.settings.lake_trigger_s} seconds"
        self.launch({"availableNow": True} if once else {"processingTime": every}, "append")

    def prepare(self) -> None:
        check_files(self.checkpoint)
        PositionTracker(self._log)  # names a log that is gone, and of which Spark would read the segments again
        known = partial(take_over_bronze, self._tables, self.contract.name)
        self.note = self._notes.read_or_create(self.settings.source, known)

    def reset(self) -> bool:
        """Begin a new checkpoint that leaves alone what bronze holds; whether there was an old one."""
        existed = remove_checkpoint(self.checkpoint)
        self.prepare()
        return existed

    def frame(self) -> DataFrame:
        records = read_source(self.spark, self.settings, self.contract.name)
        return parse_events(records, self.contract, self.settings)

    def handle(self, frame: DataFrame, query: StreamingQuery, batch: int) -> None:
        self._fence.refuse_older(self.note.epoch)
        with _persisted(frame) as all_records, self._not_held(all_records) as parsed:
            received, quarantined = parsed.transform(count_records).first()  # type: ignore[misc]
            if received > quarantined:
                events = parsed.transform(select_events, self.contract)
                self._append(events, self._tables.bronze_events(self.contract.name), batch)
            if quarantined:
                broken = parsed.transform(select_quarantine)
                quarantine = self._tables.bronze_quarantine(self.contract.name)
                with sole_committer(quarantine):  # the batch appends its conflicts there
                    self._append(broken, quarantine, batch)
        self._count(batch, received, quarantined)

    @contextmanager
    def _not_held(self, records: DataFrame) -> Iterator[DataFrame]:
        """Without those that an earlier checkpoint brought into bronze; that ends with the last day that it saw."""
        if not self.note.held:
            yield records
            return
        first, last = days_received(records)
        if first is None or first.isoformat() > self.note.held_until:
            yield records
            return
        with _persisted(drop_held(records, self.spark, self.note.held, first, last)) as fresh:
            yield fresh

    def _append(self, rows: DataFrame, table: str, batch: int) -> None:
        writer = (
            rows.write.format("delta")
            .mode("append")
            .option("mergeSchema", "true")
            .option("txnAppId", self._fence.application)
            .option("txnVersion", self._fence.transaction(self.note.epoch, batch))
            # Nobody looks for records by their text; statistics of every column cost each write time.
            .option("delta.dataSkippingStatsColumns", "received_at")
        )
        # A table that is there keeps its partitions: the quarantine may be the batch's, once made without any.
        if table not in self._there and not DeltaTable.isDeltaTable(self.spark, table):
            writer = writer.partitionBy("ingest_date")
        writer.save(table)
        self._there.add(table)

    def _count(self, batch: int, received: int, quarantined: int) -> None:
        """Add a batch to the counts, once: a replay starts from the counts before it."""
        before = self.note.records_before if self.note.batch == batch else self.note.records
        added = {"received": received, "valid": received - quarantined, "quarantined": quarantined}
        total = {name: before.get(name, 0) + count for name, count in added.items()}
        self.note = self._notes.update(self.note, batch=batch, records=total, records_before=before)


@contextmanager
def _persisted(frame: DataFrame) -> Iterator[DataFrame]:
    kept = frame.persist(StorageLevel.MEMORY_AND_DISK)
    try:
        yield kept
    finally:
        kept.unpersist()


def count_records(parsed: DataFrame) -> DataFrame:
    """One row: received, quarantined."""
    return parsed.agg(F.count(F.lit(1)), F.count_if(F.size("reasons") > 0))


def select_events(parsed: DataFrame, contract: ContractSet) -> DataFrame:
    """Rows of bronze/events: one per valid record, repetitions included."""
    return parsed.where(F.size("reasons") == 0).select(
        "raw",
        "received_at",
        *_POSITION,
        "contract_version",
        *event_columns(contract),
        F.to_date("received_at").alias("ingest_date"),
    )


def select_quarantine(parsed: DataFrame) -> DataFrame:
    """Rows of bronze/quarantine: one per broken record, raw, with every reason."""
    return parsed.where(F.size("reasons") > 0).select(
        "raw",
        "raw_bytes",
        "reasons",
        F.lit("contract").alias("stage"),
        "received_at",
        *_POSITION,
        F.to_date("received_at").alias("ingest_date"),
    )
