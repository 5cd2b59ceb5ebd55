"""The lake writer's progress in Redis, written beside the query: Delta and Redis are never in one micro-batch."""

import time
from collections.abc import Callable

import redis
import structlog

from streaming.checkpoint_log import CheckpointLog, PositionTracker
from streaming.lake_writer import LakeWriter
from tidemark import keys
from tidemark.keys import LAKE_LANE
from tidemark.progress import Progress

LOG = structlog.get_logger()
REFRESH_S = 5.0
"""The record is written again this often: a Redis that was emptied, or restored from an old copy, lacks it."""


class LakeProgress:
    """Publishes what the lake writer has committed. What it says may be older than the lake, never newer."""

    def __init__(self, client: redis.Redis, contract: str, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._key = keys.progress(contract, LAKE_LANE)
        self._published: int | None = None
        self._clock_s = clock_s
        self._again_at_s = 0.0

    def publish(self, lake: LakeWriter) -> None:
        """Write the record when a batch was committed since the last time. A Redis that is down is not waited for."""
        note = lake.last_note()
        if note is None or note.batch < 0:
            return
        if note.batch == self._published and self._clock_s() < self._again_at_s:
            return
        log = CheckpointLog(lake.checkpoint)
        commit = log.last_commit()
        if commit is None or commit.batch != note.batch:
            return
        progress = Progress(
            epoch=note.epoch,
            batch=commit.batch,
            as_of=commit.planned_at,
            position=PositionTracker(log).position,
            records=note.records,
        )
        try:
            self._client.set(self._key, progress.to_json())
            self._published = commit.batch
            self._again_at_s = self._clock_s() + REFRESH_S
        except redis.RedisError as error:
            LOG.warning("progress not published", query=lake.name, error=str(error))
