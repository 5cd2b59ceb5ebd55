"""One streaming query with a life: start, stop between two batches, and the reason when it failed."""

import threading
from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from conf.settings import Settings
from streaming.checkpoint_log import CheckpointLog
from tidemark import keys
from tidemark.contracts import ContractSet

Session = Callable[[], SparkSession]
"""Gives the one session, built when it is first needed: a start that finds nothing to do needs none."""


class QueryLane:
    """Base of a contract's queries. Subclasses say what is read (`frame`) and what a micro-batch does (`handle`)."""

    def __init__(self, session: Session, settings: Settings, contract: ContractSet, lane: str) -> None:
        self._session = session
        self.settings = settings
        self.contract = contract
        self.lane = lane
        self.checkpoint = keys.checkpoint(settings.checkpoints_uri, contract.name, lane)
        self.failure: BaseException | None = None
        self._query: StreamingQuery | None = None
        self._running = threading.Event()
        self._in_batch = threading.Lock()
        self._stopping = False

    @property
    def spark(self) -> SparkSession:
        return self._session()

    @property
    def name(self) -> str:
        return f"{self.contract.name}/{self.lane}"

    @property
    def is_active(self) -> bool:
        return self._query is not None and bool(self._query.isActive)

    def start(self, *, once: bool) -> None:
        """Prepare, then `launch`. `once`: the query ends by itself when all is read."""
        raise NotImplementedError

    def frame(self) -> DataFrame:
        raise NotImplementedError

    def handle(self, frame: DataFrame, query: StreamingQuery, batch: int) -> None:
        raise NotImplementedError

    def mend(self, error: BaseException) -> bool:
        """Take the cause of a failure away; False when none is known: then only another attempt can help."""
        return False

    def launch(self, trigger: dict[str, Any], output_mode: str) -> None:
        """Start the query on its checkpoint; `trigger` as in `DataStreamWriter.trigger`."""
        self.failure, self._stopping = None, False
        self._running.clear()
        CheckpointLog(self.checkpoint).remove_drafts()
        writer = self.frame().writeStream.queryName(self.name).outputMode(output_mode)
        writer = writer.option("checkpointLocation", self.checkpoint).trigger(**trigger)
        self._query = writer.foreachBatch(self._guarded()).start()
        self._running.set()

    def _guarded(self) -> Callable[[DataFrame, int], None]:
        def run(frame: DataFrame, batch: int) -> None:
            self._running.wait()
            self._enter()
            try:
                self.spark.sparkContext.setJobDescription(f"{self.name} batch {batch}")
                self.handle(frame, self._query, batch)  # type: ignore[arg-type]  # set before `_running`
            except BaseException as error:
                self.failure = error
                raise
            finally:
                self._in_batch.release()

        return run

    def _enter(self) -> None:
        """Take the batch lock, but never wait for it while stopping: Spark's stop waits for this very thread."""
        while not self._in_batch.acquire(timeout=0.05):
            if self._stopping:
                break
        else:
            if not self._stopping:
                return
            self._in_batch.release()
        raise InterruptedError(f"{self.name} is stopping")

    def finished(self) -> bool:
        """Whether the query has ended; then `failure` says why, None after a clean end."""
        if self._query is None or self._query.isActive:
            return False
        if self.failure is None and not self._stopping:
            self.failure = self._query.exception()
        return True

    def stop(self) -> None:
        """End between two batches: Spark's own stop would interrupt one in the middle of its writes."""
        if self._query is None:
            return
        self._stopping = True
        with self._in_batch:
            self._query.stop()
