"""One who asks: serving's own answer service over the models, each answer held against the recompute."""

from collections.abc import Callable, Coroutine
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from serving.answer_service import AnswerService
from serving.backlog import Backlogs
from serving.batch_store import BatchStore
from serving.quality_mark import QualityWatch
from serving.query import Asked
from serving.speed_store import SpeedStore
from serving.views import Views
from tests.simulation.definitions import METRICS, PEAKS, TOTALS
from tests.simulation.fake_clients import AsyncFake
from tests.simulation.fake_redis import FakeRedis
from tests.simulation.lake_model import TABLES
from tests.simulation.oracle import STALE_AFTER_S, Seen, check_answer, expected_gaps
from tidemark.metrics.model import Metric
from tidemark.windows import Span, iso, window_name

if TYPE_CHECKING:
    from tests.simulation.world import World

QUESTIONS = [(TOTALS, 600), (PEAKS, 3600), (TOTALS, 1800), (PEAKS, 300), (TOTALS, 3600)]


class Reader:
    """`answers`: how many it has got."""

    def __init__(self, world: "World") -> None:
        self.answers = 0
        self._world = world
        self._asked = 0
        self._service = AnswerService(
            cast(Any, SimpleNamespace(metric=METRICS.__getitem__, served=lambda metric, _: metric)),
            SpeedStore(_views(world.redis)),
            BatchStore(_views(world.redis), cast(Any, world.lake), TABLES),
            Backlogs(cast(Any, lambda _: world.source)),
            QualityWatch(lambda: world.clock_s),
            STALE_AFTER_S,
            lambda: world.clock_s,
        )

    def ask(self, metric: Metric, window_s: int, span: Span) -> dict[str, Any]:
        self.answers += 1
        dims = tuple(dim.name for dim in metric.dims)
        asked = Asked(metric.name, window_name(window_s), iso(span.start), iso(span.end), (), dims)
        document = _run(self._service.answer(asked)).document
        assert document is not None
        return cast(dict[str, Any], document)

    def check(self, questions: int) -> None:
        """R for the next few questions, in turn. During a fault an answer may be incomplete; never wrong."""
        for _ in range(questions):
            metric, window_s = self._next()
            span = self._world.source.everything()
            check_answer(Seen.of(self._world), metric, window_s, span, self.ask(metric, window_s, span))

    def check_amid(self, reads: int, act: "Callable[[World], None]") -> None:
        """R for the next question, as of before or after what happens once it has read so many times."""
        (metric, window_s), span = self._next(), self._world.source.everything()
        before, left = Seen.of(self._world), count(reads - 1, -1)

        def happen() -> None:
            if next(left) == 0:
                act(self._world)

        self._world.redis.after_read = happen
        try:
            document = self.ask(metric, window_s, span)
        finally:
            self._world.redis.after_read = None
        try:
            check_answer(before, metric, window_s, span, document)
        except AssertionError:
            check_answer(Seen.of(self._world), metric, window_s, span, document)

    def _next(self) -> tuple[Metric, int]:
        self._asked += 1
        return QUESTIONS[(self._asked - 1) % len(QUESTIONS)]

    def check_whole(self) -> None:
        """Every question, of a world that has settled: nothing may be missing without need."""
        self.check(len(QUESTIONS))
        for metric, window_s in QUESTIONS:
            document = self.ask(metric, window_s, self._world.source.everything())
            wrong = expected_gaps(self._world, metric, document)
            assert not wrong, f"{metric.name} by {window_s} s is incomplete without need: {wrong}"


def _views(store: FakeRedis) -> Views:
    client = cast(Any, AsyncFake(store))
    views = Views(client)
    views._wire = client
    return views


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """A coroutine that never waits, for all that it waits for is in memory."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("something in the model waits")
