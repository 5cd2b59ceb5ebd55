"""One answer: the publication in force, sealed partials up to it, speed partials from it on, merged by the domain."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from serving.answer import Answer
from serving.backlog import Backlogs
from serving.batch_store import BatchStore
from serving.catalogue import Catalogue
from serving.documents import encode
from serving.etag import etag_matches, sealed_etag
from serving.merged_points import merged_points
from serving.quality_mark import QualityWatch
from serving.query import Asked
from serving.selection import Cells, Selection
from serving.settled import SettledParts, Tide, settled_part
from serving.speed_store import Head, SpeedStore, ViewsReplaced
from tidemark.coverage import Missing, SpeedState, find_missing
from tidemark.errors import Fault, ViewsUnavailable
from tidemark.merge import Query, base_window, describe_answer, split
from tidemark.metrics.model import Metric
from tidemark.partials import PartialCodec
from tidemark.publication import Publication
from tidemark.windows import Span

HEAD_LASTS_S = 60.0
"""What an answer is built on is read first, and may by then name windows that have lapsed: publishing leaves readers
five minutes. One that hung in between (a machine that slept, a stopped process) begins anew."""
ATTEMPTS = 2
THREADED_FROM = 2_000
"""Partials in an answer beyond which merging leaves the event loop, so that small answers do not wait behind it."""


class _Reading(NamedTuple):
    """The first part of a Situation, in its order: what must be known to tell which definition answers."""

    query: Query
    base_s: int
    selection: Selection
    head: Head | None
    publication: Publication | None


@dataclass(frozen=True, slots=True)
class Situation:
    """What one answer is built on: read once, used for all its parts. `head` None: Redis does not answer.

    `base_s`: the declared window that is read. `mark`: what is added to the answer when too many records were refused
    lately.
    """

    metric: Metric
    query: Query
    base_s: int
    selection: Selection
    head: Head | None
    publication: Publication | None
    speed: SpeedState | None
    mark: dict[str, Any]

    @property
    def spans(self) -> tuple[Span, Span]:
        """(what batch answers, what speed answers)."""
        return split(self.query.span, self.publication)

    @property
    def tide(self) -> Tide:
        """How far both layers have settled."""
        head = self.head
        if head is None or head.progress is None:
            return Tide(self.publication, None, None)
        return Tide(self.publication, head.progress.watermark, head.writer)


class AnswerService:
    """Answers questions; shared by the API and `tidemark query`. `now`: the wall clock in seconds."""

    def __init__(
        self,
        catalogue: Catalogue,
        speed: SpeedStore,
        batch: BatchStore,
        backlogs: Backlogs,
        quality: QualityWatch,
        stale_after_s: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._catalogue = catalogue
        self._speed = speed
        self._batch = batch
        self._backlogs = backlogs
        self._quality = quality
        self._stale_after_s = stale_after_s
        self._now = now
        self._parts = SettledParts()
        self._codecs: dict[str, PartialCodec] = {}

    async def answer(self, asked: Asked, known_etags: str | None = None) -> Answer:
        """Raises QueryError, NotFound; LakeUnavailable when a sealed part cannot be read at all, Fault when reading
        takes so long that what was read first is outdated."""
        for _ in range(ATTEMPTS):
            began = self._now()
            found = await self._attempt(asked, known_etags)
            if self._now() - began <= HEAD_LASTS_S:
                return found
        raise Fault(f"{asked.metric}: reading took longer than {HEAD_LASTS_S:.0f} s, {ATTEMPTS} times")

    async def _attempt(self, asked: Asked, known_etags: str | None) -> Answer:
        """What Redis lost since the head was read costs a new head, then the same question without speed."""
        situation = await self.situation(asked)
        try:
            return await self._answered(situation, known_etags)
        except ViewsReplaced:
            situation = await self.situation(asked)
        except ViewsUnavailable:
            situation = _without_speed(situation)
        try:
            return await self._answered(situation, known_etags)
        except ViewsUnavailable:
            return await self._answered(_without_speed(situation), known_etags)

    async def situation(self, asked: Asked) -> Situation:
        """Publication and progress, read before any partial. A definition that batch has not published yet gives way
        to the published one."""
        metric = self._catalogue.metric(asked.metric)
        reading = await self._read(metric, asked.check(metric))
        served = self._catalogue.served(metric, reading.publication)
        if served.family != metric.family:
            metric, reading = served, await self._read(served, asked.check(served))
            if reading.publication is not None and reading.publication.family != metric.family:
                raise Fault(f"{metric.name}: its definition is being replaced right now")
        head = reading.head
        speed = None if head is None else await self._speed_state(metric, head)
        mark = self._quality.mark(metric, head.lake if head else None)
        return Situation(metric, *reading, speed, mark)

    async def _read(self, metric: Metric, query: Query) -> _Reading:
        base_s, selection = base_window(metric, query.window_s), Selection.of(metric, query.filters)
        try:
            head = await self._speed.head(metric, base_s, query.span, selection.dims_key, query.window_s)
        except ViewsUnavailable:
            head = None
        publication = head.publication if head is not None else None
        if publication is None:
            publication = await self._batch.publication_from_lake(metric.name)
        return _Reading(query, base_s, selection, head, publication)

    async def _speed_state(self, metric: Metric, head: Head) -> SpeedState:
        """Asks the source only where it matters: when no stream runs, or it has not written for too long."""
        progress = head.progress
        fresh = progress is not None and progress.is_fresh(self._now(), self._stale_after_s)
        if (head.alive and fresh) or metric.batch_only:
            return SpeedState(progress, head.alive, None, head.late)
        try:
            backlog = (await self._backlogs.of(metric.contract, metric.lane, progress)).records
            if progress is None and backlog == 0:
                backlog = await self._backlogs.ever_came(metric.contract)
        except Fault:
            return SpeedState(progress, head.alive, None, head.late)
        return SpeedState(progress, head.alive, backlog, head.late)

    async def _answered(self, situation: Situation, known_etags: str | None) -> Answer:
        """ViewsUnavailable when Redis went away, or lost what the head tells of, since the head was read."""
        metric, query, now = situation.metric, situation.query, self._now()
        missing = self._missing(situation, now)
        etag = _etag(situation, missing)
        if etag is not None and etag_matches(known_etags, etag):
            return Answer(None, b"", [], etag, not missing, query)
        settled, edge = await self._settled(situation, missing)
        points = await self._points(situation, Span(edge, query.span.end), missing)
        head = describe_answer(metric, query, situation.publication, situation.speed, missing, now) | situation.mark
        return Answer(head, settled, points, etag, not missing, query)

    async def _settled(self, situation: Situation, missing: tuple[Missing, ...]) -> tuple[bytes, int]:
        """The settled points as JSON without brackets, and the end of the part that they cover."""
        key = settled_part(situation.metric, situation.query, situation.tide, missing)
        if key is None:
            return b"", situation.query.span.start
        part = self._parts.get(key)
        if part is None:
            part = encode(await self._points(situation, key.span, missing))[1:-1]
            self._parts.put(key, part)
        return part, key.span.end

    async def _points(self, situation: Situation, span: Span, missing: tuple[Missing, ...]) -> list[dict[str, Any]]:
        """The points of a part of the asked range. ViewsUnavailable as above."""
        if span.is_empty:
            return []
        metric, query = situation.metric, situation.query
        if span != query.span:
            query = replace(query, span=span)
        batch_span, speed_span = split(span, situation.publication)
        sealed: Cells = {}
        if situation.publication is not None and not batch_span.is_empty:
            sealed = await self._batch.partials(
                metric, situation.publication, situation.base_s, batch_span, situation.selection
            )
        moving = await self._moving(situation, speed_span)
        merge = partial(merged_points, situation, query, self._codec(metric), sealed, moving, missing)
        if sum(map(len, sealed.values())) + sum(map(len, moving.values())) > THREADED_FROM:
            return await asyncio.to_thread(merge)
        return merge()

    async def _moving(self, situation: Situation, span: Span) -> Cells:
        """Speed's partials."""
        head = situation.head
        if head is None or situation.metric.batch_only or span.is_empty:
            return {}
        held = tuple(start for start in head.held if span.start <= start < span.end)
        return await self._speed.partials(situation.metric, situation.base_s, held, situation.selection, head)

    def _codec(self, metric: Metric) -> PartialCodec:
        if metric.family not in self._codecs:
            self._codecs[metric.family] = PartialCodec(metric)
        return self._codecs[metric.family]

    def _missing(self, situation: Situation, now: float) -> tuple[Missing, ...]:
        query = situation.query
        return find_missing(
            situation.metric,
            situation.publication,
            situation.speed,
            query.span,
            query.window_s,
            now,
            self._stale_after_s,
        )


def _without_speed(situation: Situation) -> Situation:
    return replace(situation, head=None, speed=None)


def _etag(situation: Situation, missing: tuple[Missing, ...]) -> str | None:
    """Only of a range that is sealed as a whole, and not of a refusal."""
    publication, query = situation.publication, situation.query
    if publication is None or not situation.spans[1].is_empty or (query.strict and missing):
        return None
    return sealed_etag(publication, query, bool(situation.mark))
