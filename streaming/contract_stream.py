"""The queries of one contract: lake writer, exact views, and sketch views when a metric needs them."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import redis
import structlog

from conf.settings import Settings
from intake.position import SEGMENTS
from intake.segments import FileSource
from intake.source import open_source
from streaming.begin_anew import has_checkpoint, remove_checkpoint
from streaming.checkpoint_log import CheckpointLog
from streaming.lake_progress import LakeProgress
from streaming.lake_writer import LakeWriter
from streaming.query_lane import Session
from streaming.restarts import Restarts
from streaming.speed_lane import SpeedLane
from tidemark import keys
from tidemark.contracts import ContractSet
from tidemark.errors import CheckpointDamaged
from tidemark.keys import LAKE_LANE, LANES
from tidemark.metrics.model import Metric
from tidemark.metrics.registry import Registry

LOG = structlog.get_logger()
Lane = LakeWriter | SpeedLane


class ContractStream:
    """Built from definitions; `apply` takes changed ones without touching lanes that they do not change."""

    def __init__(
        self, session: Session, settings: Settings, client: redis.Redis, registry: Registry, contract: str
    ) -> None:
        self._session = session
        self._settings = settings
        self._client = client
        self._contract: ContractSet = registry.contracts[contract]
        self._metrics = metrics_by_lane(registry.metrics_of(contract))
        self.source = open_source(settings, self._contract.newest)
        self.lanes: dict[str, Lane] = {}
        self.restarts = Restarts()
        self._failed: dict[str, str] = {}
        self._lake_progress = LakeProgress(client, contract)
        self._build()

    @property
    def name(self) -> str:
        return self._contract.name

    @property
    def lake(self) -> LakeWriter:
        lane = self.lanes[LAKE_LANE]
        assert isinstance(lane, LakeWriter)
        return lane

    def start(self, *, once: bool) -> None:
        """Start the lanes that have something to do (`once`), or all of them."""
        for lane in self.lanes.values():
            if not once or lane.has_work():
                self.restarts.start(lane, once=once)

    def needs_session(self) -> bool:
        """Whether `start(once=True)` would start anything."""
        return self.source.has_data() and any(lane.has_work() for lane in self.lanes.values())

    def look_after(self, *, once: bool) -> None:
        """Restart what failed; raises its error when it fails too often. Publish the lake's progress."""
        for lane in self.lanes.values():
            self.restarts.look_after(lane, once=once)
        self._lake_progress.publish(self.lake)

    def is_running(self) -> bool:
        return any(lane.is_active or self.restarts.is_waiting(lane) for lane in self.lanes.values())

    def stop(self) -> None:
        for lane in self.lanes.values():
            lane.stop()

    def apply(self, registry: Registry) -> None:
        """Restart the lanes whose definitions changed, each on its checkpoint."""
        contract, metrics = registry.contracts[self.name], metrics_by_lane(registry.metrics_of(self.name))
        changed = [lane for lane in LANES if contract != self._contract or metrics.get(lane) != self._metrics.get(lane)]
        if contract != self._contract:
            changed.append(LAKE_LANE)
        if not changed:
            return
        self._forget_failed(registry)
        was_running = self.is_running()
        for name in changed:
            if name in self.lanes:
                self.lanes.pop(name).stop()
        self._contract, self._metrics = contract, metrics
        for lane in self._build():
            LOG.info("definitions changed, restarting", query=lane.name)
            if was_running:
                self.restarts.start(lane, once=False)

    def _forget_failed(self, registry: Registry) -> None:
        """A metric that was set aside is tried again when its definition has changed."""
        known = {metric.name: metric.family for metrics in self._metrics.values() for metric in metrics}
        for name in list(self._failed):
            metric = registry.metrics.get(name)
            if metric is None or metric.family != known.get(name):
                del self._failed[name]

    def clean_source(self) -> None:
        """Delete segments that every lane has committed, after the configured time."""
        if not isinstance(self.source, FileSource):
            return
        consumed = set.intersection(*(_segments(lane.checkpoint) for lane in self.lanes.values()))
        after_s, now = self._settings.segment_retention_s, datetime.fromtimestamp(time.time(), UTC)
        due = self.source.due(consumed, after_s, now)
        try:
            self._forget_dormant(due)
        except redis.RedisError as error:
            LOG.warning("consumed segments kept, Redis does not answer", contract=self.name, error=str(error))
            due = set()
        cleaned = self.source.clean(due, after_s, now)
        if cleaned.segments:
            LOG.info("consumed segments deleted", contract=self.name, segments=cleaned.segments)

    def _forget_dormant(self, due: set[str]) -> None:
        """Lanes that no metric needs now, and that lack what is about to be deleted, begin anew when one does.

        Their old checkpoint would go on behind the hole as if there were none. The progress record goes first: a reader
        that finds nothing unread behind it would call the views whole.
        """
        for name in (name for name in LANES if name not in self.lanes):
            checkpoint = keys.checkpoint(self._settings.checkpoints_uri, self.name, name)
            if due and has_checkpoint(checkpoint) and _lacks(checkpoint, due):
                self._client.delete(keys.progress(self.name, name))
                remove_checkpoint(checkpoint)
                LOG.info("checkpoint removed, it lacks segments that go", contract=self.name, lane=name)

    def _build(self) -> list[Lane]:
        """Make the lanes that are missing."""
        made: list[Lane] = []
        if LAKE_LANE not in self.lanes:
            made.append(LakeWriter(self._session, self._settings, self._contract, self.source))
        for name in LANES:
            if name in self._metrics and name not in self.lanes:
                made.append(self._speed_lane(name, self._metrics[name]))
        self.lanes.update({lane.lane: lane for lane in made})
        return made

    def _speed_lane(self, name: str, metrics: Sequence[Metric]) -> SpeedLane:
        return SpeedLane(
            self._session, self._settings, self._contract, name, metrics, self.source, self._client, self._failed
        )


def metrics_by_lane(metrics: Sequence[Metric]) -> dict[str, tuple[Metric, ...]]:
    """Lane → its metrics. `exact` always runs: it counts accepted events; `sketch` only when a metric needs it."""
    served = [metric for metric in metrics if not metric.batch_only]
    lanes = {lane: tuple(metric for metric in served if metric.lane == lane) for lane in LANES}
    return {lane: found for lane, found in lanes.items() if found or lane == "exact"}


def _segments(checkpoint: str) -> set[str]:
    position = CheckpointLog(checkpoint).consumed_position() or {}
    return set(position.get(SEGMENTS, ()))


def _lacks(checkpoint: str, segments: set[str]) -> bool:
    """Whether a checkpoint has not consumed all of these; one that cannot be trusted has not."""
    try:
        return not segments <= _segments(checkpoint)
    except CheckpointDamaged:
        return True
