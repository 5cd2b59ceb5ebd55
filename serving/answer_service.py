"""One answer: the publication in force, sealed partials up to it, speed partials from it on, merged by the domain."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from serving.backlog import Backlogs
from serving.batch_store import BatchStore
from serving.catalogue import Catalogue
from serving.quality_mark import QualityWatch
from serving.query import Asked
from serving.selection import Cells, Selection
from serving.speed_store import Head, SpeedStore
from tidemark.coverage import Missing, SpeedState, find_missing
from tidemark.errors import Fault, ViewsUnavailable
from tidemark.merge import Query, Row, base_window, merge_answer, split
from tidemark.metrics.model import Metric
from tidemark.partials import PartialCodec
from tidemark.publication import Publication
from tidemark.windows import Span

THREADED_FROM = 2_000
"""Partials in an answer beyond which merging leaves the event loop, so that small answers do not wait behind it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`document` is INTERFACES §5; None when the caller's `etag` still holds. `etag` only for sealed ranges."""

    document: dict[str, Any] | None
    etag: str | None
    complete: bool
    query: Query

    @property
    def max_age_s(self) -> int:
        """How long a private cache may keep it: sealed a minute, closed a few seconds, open or incomplete not."""
        if self.etag is not None:
            return 60
        points = self.document["points"] if self.document else []
        return 5 if self.complete and points and all(point["state"] != "open" for point in points) else 0


@dataclass(frozen=True, slots=True)
class Situation:
    """What one answer is built on: read once, used for all its parts. `head` None: Redis does not answer.

    `mark`: what is added to the answer when too many records were refused lately.
    """

    metric: Metric
    query: Query
    head: Head | None
    publication: Publication | None
    speed: SpeedState | None
    mark: dict[str, Any]

    @property
    def spans(self) -> tuple[Span, Span]:
        """(what batch answers, what speed answers)."""
        return split(self.query.span, self.publication)


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

    async def answer(self, asked: Asked, known_etags: str | None = None) -> Answer:
        """Raises QueryError, NotFound; LakeUnavailable when a sealed part cannot be read at all."""
        situation = await self.situation(asked)
        query, (_, speed_span) = situation.query, situation.spans
        etag = _etag(situation) if speed_span.is_empty else None
        if etag is not None and etag_matches(known_etags, etag):
            return Answer(None, etag, True, query)
        document = await self._document(situation)
        return Answer(document, etag, document["complete"], query)

    async def situation(self, asked: Asked) -> Situation:
        """Publication and progress, read before any partial. A definition that batch has not published yet gives way
        to the published one."""
        metric = self._catalogue.metric(asked.metric)
        query = asked.check(metric)
        head, publication = await self._head(metric, query)
        served = self._catalogue.served(metric, publication)
        if served.family != metric.family:
            metric, query = served, asked.check(served)
            head, publication = await self._head(metric, query)
            if publication is not None and publication.family != metric.family:
                raise Fault(f"{metric.name}: its definition is being replaced right now")
        speed = None if head is None else await self._speed_state(metric, head)
        mark = self._quality.mark(metric, head.lake if head else None)
        return Situation(metric, query, head, publication, speed, mark)

    async def _head(self, metric: Metric, query: Query) -> tuple[Head | None, Publication | None]:
        try:
            head = await self._speed.head(metric, base_window(metric, query.window_s), query.span)
        except ViewsUnavailable:
            publication = await self._batch.publication_from_lake(metric.name)
            return None, replace(publication, hot_from=publication.sealed_through) if publication else None
        if head.publication is not None:
            return head, head.publication
        return head, await self._batch.publication_from_lake(metric.name)

    async def _speed_state(self, metric: Metric, head: Head) -> SpeedState:
        """Asks the source only where it matters: when no stream runs, or it has not written for too long."""
        progress = head.progress
        fresh = progress is not None and self._now() - progress.as_of <= self._stale_after_s
        if (head.alive and fresh) or metric.batch_only:
            return SpeedState(progress, head.alive, None, head.late)
        try:
            backlog = (await self._backlogs.of(metric.contract, metric.lane, progress)).records
        except Fault:
            return SpeedState(progress, head.alive, None, head.late)
        return SpeedState(progress, head.alive, backlog, head.late)

    async def _document(self, situation: Situation) -> dict[str, Any]:
        metric, query = situation.metric, situation.query
        base_s = base_window(metric, query.window_s)
        batch_span, speed_span = situation.spans
        selection = Selection.of(metric, query.filters)
        sealed: Cells = {}
        if situation.publication is not None and not batch_span.is_empty:
            sealed = await self._batch.partials(metric, situation.publication, base_s, batch_span, selection)
        situation, moving = await self._moving(situation, base_s, speed_span, selection)
        now = self._now()
        missing = self._missing(situation, now)
        merge = partial(_merged, situation, sealed, moving, missing, now)
        if sum(map(len, sealed.values())) + sum(map(len, moving.values())) > THREADED_FROM:
            return await asyncio.to_thread(merge)
        return merge()

    async def _moving(
        self, situation: Situation, base_s: int, span: Span, selection: Selection
    ) -> tuple[Situation, Cells]:
        """Speed's partials; the situation without speed when Redis went away since its head was read."""
        head = situation.head
        if head is None or situation.metric.batch_only or span.is_empty:
            return situation, {}
        held = tuple(start for start in head.held if span.start <= start < span.end)
        try:
            return situation, await self._speed.partials(situation.metric, base_s, held, selection)
        except ViewsUnavailable:
            return replace(situation, head=None, speed=None), {}

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


def _merged(
    situation: Situation, sealed: Cells, moving: Cells, missing: tuple[Missing, ...], now: float
) -> dict[str, Any]:
    metric, query = situation.metric, situation.query
    codec = PartialCodec(metric)
    batch, speed = _rows(codec, sealed), _rows(codec, moving)
    document = merge_answer(metric, query, situation.publication, batch, speed, situation.speed, missing, now)
    return document | situation.mark


def _rows(codec: PartialCodec, cells: Cells) -> Iterator[Row]:
    for start, window in cells.items():
        for dims_key, packed in window.items():
            try:
                yield Row(start, dims_key, codec.decode(packed))
            except ValueError as error:
                raise Fault(f"stored partial cannot be read: {error}") from error


def _etag(situation: Situation) -> str | None:
    """Equal tags mean equal sealed data for the same question: family, the runs that wrote it, and the quality mark."""
    publication, query = situation.publication, situation.query
    if publication is None:
        return None
    facts = (
        publication.family,
        publication.runs_in(query.span),
        query.window_s,
        query.span,
        sorted(query.filters.items()),
        query.group_by,
        query.top,
        query.order_by,
        bool(situation.mark),
    )
    return f'W/"{hashlib.sha256(repr(facts).encode()).hexdigest()[:24]}"'


def etag_matches(known: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names the tag (weak comparison, RFC 9110 §13.1.2)."""
    if known is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags
