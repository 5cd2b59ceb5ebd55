"""One deployment in memory: clock, source, engine, Redis and lake are models; lane, fence's client, batch's
publication, and serving's reader are the product's own code.

Every method is one thing that can happen. After each, `check` asks what a reader would ask and holds every answer
against a recompute of the source: it may say that something is missing, and what it shows must be right.
"""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import redis

from conf.settings import Settings
from intake.source import Backlog
from serving.answer_service import AnswerService
from serving.backlog import Backlogs
from serving.batch_store import BatchStore
from serving.quality_mark import QualityWatch
from serving.query import Asked
from serving.speed_store import SpeedStore
from serving.views import Views
from spark_jobs import barrier, parity, publish
from spark_jobs.plan import plan_metric
from streaming import checkpoint_log, fenced_writer, speed_lane
from streaming.speed_lane import SpeedLane
from tests.simulation.definitions import CONTRACT, LANE, METRICS, PEAKS, TOTALS, Event, recompute
from tests.simulation.engine import (
    AnotherQuery,
    Checkpoint,
    LogInMemory,
    NoteInMemory,
    Query,
    check_slots,
    consumed,
    position,
    run_batch,
    to_table,
)
from tests.simulation.fake_redis import AsyncFake, FakeRedis
from tests.simulation.fence_model import FenceModel
from tests.simulation.lake_model import TABLES, LakeModel
from tests.simulation.oracle import Seen, check_answer, expected_gaps
from tidemark import keys
from tidemark.errors import SourceNotDrained, StaleWriter, ViewsUnavailable
from tidemark.metrics.model import Metric
from tidemark.progress import Progress
from tidemark.windows import Span, floor_to, iso, window_name

SETTINGS = Settings(env="test", home=Path("/nowhere"))
START_S = 1_772_323_200 + 35_000  # 2026-03-01T09:43:20Z
STALE_AFTER_S = 30.0
LOOK_EVERY = 3
"""After how many writes of a batch a reader looks; most of them prepare what none can see yet."""
_progress = lru_cache(maxsize=256)(Progress.from_json)
QUESTIONS = [(TOTALS, 600), (PEAKS, 3600), (TOTALS, 1800), (PEAKS, 300), (TOTALS, 3600)]


class Crash(BaseException):
    """The process ends here; nothing in the product may catch it."""


class World:
    """`watch`: look also between any two steps that a writer takes in Redis."""

    def __init__(self, fence: FenceModel | None = None, *, watch: bool = True) -> None:
        check_slots(TOTALS, PEAKS)
        self.clock_s = float(START_S)
        self.source: list[Event] = []
        self.cleaned = 0
        self.redis = FakeRedis(lambda: self.clock_s, fence)
        self.lake = LakeModel()
        self.checkpoints: list[Checkpoint] = []
        self.metrics: tuple[Metric, ...] = (TOTALS, PEAKS)
        self.driver: Driver | None = None
        self.batch: Iterator[None] | None = None
        self.begun_at: dict[tuple[str, int], int] = {}
        self.losses = 0
        self.redefined = False
        self.snapshots: list[Any] = []
        self.answers = 0
        self._watch = watch
        self._asked = 0
        self._truths: dict[tuple[str, int], Any] = {}
        self._starts: dict[tuple[str, int], tuple[int, set[int]]] = {}
        self._edges = (START_S, START_S)
        self._patches = ExitStack()
        self._open_model()
        self.new_checkpoint()
        self.service = AnswerService(
            cast(Any, SimpleNamespace(metric=METRICS.__getitem__, served=lambda metric, _: metric)),
            SpeedStore(self._views()),
            BatchStore(self._views(), cast(Any, self.lake), TABLES),
            Backlogs(cast(Any, lambda _: self)),
            QualityWatch(lambda: self.clock_s),
            STALE_AFTER_S,
            lambda: self.clock_s,
        )

    def close(self) -> None:
        self._patches.close()

    def _views(self) -> Views:
        client = cast(Any, AsyncFake(self.redis))
        views = Views(client)
        views._wire = client
        return views

    def _open_model(self) -> None:
        clock = SimpleNamespace(monotonic=lambda: self.clock_s)
        replaced: list[tuple[Any, str, Any]] = [
            (speed_lane, "check_files", lambda _: None),
            (speed_lane, "sealed_since", self._sealed_since),
            (speed_lane, "read_batch_facts", lambda query, _: query.facts),
            (speed_lane, "restore_open_windows", self._restored),
            (checkpoint_log, "consumed_position", self._consumed_position),
            (fenced_writer, "_MAX_ARGUMENTS", 16),
            (fenced_writer, "_PIPELINE", 2),
            (publish, "latest_publications", lambda _: self.lake.latest()),
            (publish, "commit_publications", lambda _, new: self.lake.publications.extend(new)),
            (parity, "first_day", self.lake.first_day),
            (barrier, "log", mock.Mock()),
        ]
        for owner, name, model in replaced:
            self._patches.enter_context(mock.patch.object(owner, name, model))
        for place in ("spark_jobs.hot_views", "spark_jobs.parity"):
            self._patches.enter_context(mock.patch(f"{place}.read_windows", self.lake.read_windows))
        for place in ("serving.backlog", "serving.batch_store"):
            self._patches.enter_context(mock.patch(f"{place}.time", clock))
        self._patches.enter_context(mock.patch("asyncio.to_thread", _at_once))

    def _sealed_since(self, _: object, metrics: Sequence[Metric]) -> int | None:
        published = self.lake.latest()
        edges = [published[each.name].sealed_through if each.name in published else None for each in metrics]
        return None if None in edges else min(cast(list[int], edges), default=None)

    def _restored(self, _: object, uri: str, lane: str, batch: int) -> Any:
        return to_table(sorted(self._checkpoint(uri).states[batch].groups.items()))

    def _consumed_position(self, uri: str) -> Any:
        checkpoint = self._checkpoint(uri)
        return position(checkpoint.committed_end) if checkpoint.commits else None

    def _checkpoint(self, uri: str) -> Checkpoint:
        return next(each for each in self.checkpoints if each.uri == uri)

    # --- the source, as lanes and serving see it

    def end_position(self) -> dict[str, Any]:
        return position(len(self.source))

    def backlog(self, held: dict[str, Any] | None) -> Backlog:
        unread = self.source[max(consumed(held or {}), self.cleaned) :]
        oldest = datetime.fromtimestamp(unread[0].received_s, UTC) if unread else None
        return Backlog(len(unread), oldest)

    def appended_ever(self) -> int:
        return len(self.source)

    def removed_ever(self) -> int:
        return self.cleaned

    # --- what can happen

    def advance(self, seconds: float) -> None:
        self.clock_s += seconds

    def ingest(self, age_s: int, device: str = "a", count: int = 1) -> Event:
        """An event of `age_s` ago (negative: ahead). A second passes: serving's look at the source is that old."""
        self.advance(1)
        event = Event(f"e{len(self.source)}", int(self.clock_s) - age_s, device, count, self.clock_s)
        first, last = self._edges if self.source else (event.at_s, event.at_s)
        self._edges = min(first, event.at_s), max(last, event.at_s)
        self.source.append(event)
        return event

    def repeat(self, number: int) -> None:
        """A producer's retry: an earlier event comes once more."""
        self.advance(1)
        if self.source:
            old = self.source[number % len(self.source)]
            self.source.append(Event(old.id, old.at_s, old.device, old.count, self.clock_s))

    def write_lake(self) -> None:
        """The lake writer takes what is there."""
        self.lake.bronze = len(self.source)

    def clean_source(self) -> None:
        """Retention: records that every query has consumed go."""
        taken = min(self.lake.bronze, self.checkpoints[-1].committed_end)
        self.cleaned = max(self.cleaned, taken)

    def new_checkpoint(self) -> None:
        """The folder of the stream is lost: the next start begins a new one, from what the source still has."""
        self.kill()
        if self.checkpoints:
            self.losses += 1
        self.checkpoints.append(Checkpoint(f"checkpoint-{len(self.checkpoints)}", self.cleaned))

    def start(self, metrics: tuple[Metric, ...] | None = None, *, interrupt: "Interrupt | None" = None) -> None:
        """Start the stream, or the query again within the process when it failed."""
        if metrics is not None:
            self.metrics = metrics
        if self.driver is None:
            self.driver = Driver(self, self.checkpoints[-1], self.metrics)
        self._guarded(self.driver, self.driver.prepare, interrupt)

    def tick(self, upto: int | None = None, *, interrupt: "Interrupt | None" = None) -> None:
        """One micro-batch, over at most the next `upto` records."""
        driver = self.driver
        if driver is not None and driver.is_running:
            self._guarded(driver, lambda: driver.run(upto), interrupt)

    def live(
        self,
        events: Sequence[tuple[int, str, int]],
        *,
        upto: int | None = None,
        interrupt: "Interrupt | None" = None,
    ) -> None:
        """Ordinary life: some events arrive, a stream that runs or is started takes them."""
        for age_s, device, count in events:
            self.ingest(age_s, device, count)
        self.redis.is_down = False
        self.start() if self.driver is None else self.supervise()
        self.tick(upto, interrupt=interrupt)

    def supervise(self) -> None:
        """What the supervisor does on its round: heartbeat, look at the views, start what has failed."""
        driver = self.driver
        if driver is None:
            return
        self.beat()
        if driver.is_running:
            self._guarded(driver, driver.look, None)
        if self.driver is driver and not driver.is_running:
            self._guarded(driver, driver.prepare, None)

    def beat(self) -> None:
        if self.driver is not None and not self.redis.is_down:
            self.redis.run_command("SET", keys.alive(CONTRACT.name, LANE), "1", "PX", 10_000)

    def kill(self) -> None:
        """kill -9 of the stream; its heartbeat lapses by itself."""
        self.driver = None

    def take_over(self, *, fresh: bool) -> None:
        """A second stream starts while the first hangs, on the same checkpoint or on a new one, and gets ahead.

        When the first hangs in its start, it has read the log of commits before the second moved it: it then takes the
        views for lost and rebuilds them, which costs closed windows that are not sealed yet.
        """
        if self.driver is not None and not self.driver.is_running:
            self.losses += 1
        self.driver = None
        if fresh:
            self.new_checkpoint()
        self.start()
        self.tick()
        self.ingest(0)
        self.ingest(300, "b", 2)
        self.tick()

    def lose_redis(self) -> None:
        self.redis.lose_all()
        self.losses += 1

    def take_snapshot(self) -> None:
        self.snapshots.append(self.redis.snapshot())

    def restore_snapshot(self, number: int) -> None:
        """Redis comes back as it was: a restore, a torn log, or a replica that lagged."""
        if self.snapshots:
            self.redis.restore(self.snapshots[number % len(self.snapshots)])
            self.losses += 1

    def begin_batch(self, through_s: int, *, full: bool = False, failing: tuple[str, ...] = ()) -> None:
        self.batch = self._batch(through_s, full, failing)

    def go_on_with_batch(self, steps: int, *, interrupt: "Interrupt | None" = None) -> None:
        """The next steps of the batch that is under way; it ends when it fails, dies, or is done."""
        for _ in range(steps):
            if self.batch is None:
                return
            try:
                with self._interrupted(interrupt, look_every=LOOK_EVERY):
                    next(self.batch)
            except (StopIteration, Crash, SourceNotDrained, redis.RedisError):
                self.batch = None
            interrupt = None

    def kill_batch(self) -> None:
        self.batch = None

    def run_batch(self, through_s: int, *, full: bool = False) -> None:
        """A whole batch, at once."""
        self.begin_batch(through_s, full=full)
        self.go_on_with_batch(1000)

    def _batch(self, through_s: int, full: bool, failing: tuple[str, ...]) -> Iterator[None]:
        """`spark_jobs.nightly` over the model's lake: the same steps in the same order."""
        client = cast(Any, self.redis)
        published = publish.heal(client, TABLES, METRICS, {CONTRACT.name: CONTRACT})
        begun_at = len(self.source)
        end = self.end_position()
        yield
        self._wait_for_lake(end)
        yield
        self.lake.silver.append(self.lake.bronze)
        silver = len(self.lake.silver) - 1
        planned = []
        for metric in METRICS.values():
            yield
            before = published.get(metric.name)
            plan = plan_metric(metric, before, through_s, self._late_minutes(before, silver), full)
            if plan.is_idle or metric.name in failing:
                continue
            truth = self.truth(metric, self.lake.silver[silver])
            rows = {(*window, key): held for window, groups in truth.items() for key, held in groups.items()}
            gold = self.lake.replace_gold(metric.name, plan.spans, rows)
            compared = parity.compare(client, plan, TABLES.gold(metric.name), gold, end)
            new = publish.new_publication(plan, gold, silver, self.clock_s)
            planned.append((plan, new))
            self.begun_at[metric.name, new.version] = begun_at
            self._check_parity(metric, compared, begun_at)
        yield
        publish.run(client, TABLES, planned, lambda: None)
        yield
        now = self.lake.latest()
        if len(now) == len(METRICS):
            publish.forget_late(client, CONTRACT.name, LANE, min(each.sealed_through for each in now.values()))

    def _wait_for_lake(self, end: dict[str, Any]) -> None:
        barrier.wait_until_drained(
            {CONTRACT.name: end}, lambda _: position(self.lake.bronze), lambda _: False, timeout_s=0
        )

    def _late_minutes(self, before: Any, silver: int) -> set[int]:
        known = self.lake.silver[before.silver_version] if before else 0
        return {floor_to(event.at_s, 60) for event in self.source[known : self.lake.silver[silver]]}

    def _check_parity(self, metric: Metric, compared: list[parity.Parity], begun_at: int) -> None:
        """Once both have read everything, they differ only where speed said that it left something out."""
        is_late = self.redis.peek(keys.late(CONTRACT.name, LANE))
        progress = self.progress()
        has_all = progress is not None and consumed(progress.position) == begun_at == len(self.source)
        if has_all and not is_late and not self.losses:
            assert not any(each.mismatched for each in compared), f"parity of {metric.name}: {compared}"

    # --- running with interruptions

    def _guarded(self, driver: "Driver", call: Callable[[], None], interrupt: "Interrupt | None") -> None:
        try:
            with self._interrupted(interrupt):
                call()
        except Crash:
            driver.is_running = False
            if self.driver is driver:
                self.kill()
        except (StaleWriter, AnotherQuery):
            driver.is_running = False
            if self.driver is driver:
                self.driver = None
        except (ViewsUnavailable, redis.RedisError):
            driver.is_running = False

    @contextmanager
    def _interrupted(self, interrupt: "Interrupt | None", look_every: int = 1) -> Iterator[None]:
        taken = written = 0

        def stepped(has_written: bool) -> None:
            nonlocal taken, written
            taken += 1
            written += has_written
            if self._watch and has_written and written % look_every == 0:
                self.check(1)
            if interrupt is not None and taken == interrupt.after:
                hook, self.redis.after_step = self.redis.after_step, None
                try:
                    interrupt.act(self)
                finally:
                    self.redis.after_step = hook

        before, self.redis.after_step = self.redis.after_step, stepped
        try:
            if interrupt is not None and interrupt.after == 0:
                interrupt.act(self)
            yield
        finally:
            self.redis.after_step = before

    # --- what must hold

    def truth(self, metric: Metric, end: int) -> Any:
        """The recompute over the first `end` records."""
        key = (metric.name, end)
        if key not in self._truths:
            self._truths[key] = recompute(metric, self.source[:end])
        return self._truths[key]

    def starts(self, metric: Metric, base_s: int, window_s: int) -> set[int]:
        """Windows of a length, composed of those of `base_s`, in which any record fell."""
        key = (metric.name, window_s)
        known = self._starts.get(key)
        if known is None or known[0] != len(self.source):
            cells = self.truth(metric, len(self.source))
            known = len(self.source), {floor_to(start, window_s) for length, start in cells if length == base_s}
            self._starts[key] = known
        return known[1]

    def progress(self) -> Progress | None:
        held = self.redis.peek(keys.progress(CONTRACT.name, LANE))
        return _progress(held) if held else None

    def ask(self, metric: Metric, window_s: int, span: Span) -> dict[str, Any]:
        self.answers += 1
        dims = tuple(dim.name for dim in metric.dims)
        asked = Asked(metric.name, window_name(window_s), iso(span.start), iso(span.end), (), dims)
        document = _run(self.service.answer(asked)).document
        assert document is not None
        return cast(dict[str, Any], document)

    def everything(self) -> Span:
        """The days around all events."""
        first, last = self._edges
        return Span(floor_to(first, 3600), floor_to(last, 3600) + 3600)

    def check(self, questions: int = 2) -> None:
        """R for the next few questions, in turn. During a fault an answer may be incomplete; never wrong."""
        for _ in range(questions):
            metric, window_s = QUESTIONS[self._asked % len(QUESTIONS)]
            self._asked += 1
            span = self.everything()
            check_answer(self._seen(), metric, window_s, span, self.ask(metric, window_s, span))

    def _seen(self) -> Seen:
        alive = not self.redis.is_down and self.redis.peek(keys.alive(CONTRACT.name, LANE)) is not None
        progress = None if self.redis.is_down else self.progress()
        return Seen(self, progress, alive)

    def settle(self) -> None:
        """All faults end, everything is drained and sealed: now every answer must be whole, and right."""
        self.redis.is_down = False
        self.kill_batch()
        self.advance(20)
        if len(self.metrics) < len(METRICS):
            self.kill()
            self.metrics = (TOTALS, PEAKS)
        for _ in range(3):
            self.start() if self.driver is None else self.supervise()
            self.tick()
            self.tick()
        self.check(len(QUESTIONS))
        self._check_whole()
        self.write_lake()
        self.run_batch(floor_to(self.clock_s, 3600))
        self.supervise()
        self.check(len(QUESTIONS))
        self._check_whole()

    def _check_whole(self) -> None:
        for metric, window_s in QUESTIONS:
            span = self.everything()
            document = self.ask(metric, window_s, span)
            wrong = expected_gaps(self, metric, document)
            assert not wrong, f"{metric.name} by {window_s} s is incomplete without need: {wrong}"


class Interrupt:
    """Something that happens after so many steps of a writer: 0 = before the first."""

    def __init__(self, after: int, act: Callable[[World], None]) -> None:
        self.after, self.act = after, act


class Driver:
    """One process of the stream: the product's lane over the model's engine."""

    def __init__(self, world: World, checkpoint: Checkpoint, metrics: tuple[Metric, ...]) -> None:
        self.world, self.checkpoint, self.metrics = world, checkpoint, metrics
        self.is_running = False
        self.query: Query
        self.lane = SpeedLane(
            lambda: cast(Any, None),
            SETTINGS,
            CONTRACT,
            LANE,
            metrics,
            cast(Any, world),
            cast(Any, world.redis),
            now_s=lambda: world.clock_s,
        )
        self.lane.checkpoint = checkpoint.uri
        self.lane._log = LogInMemory(checkpoint)
        self.lane._notes = NoteInMemory(checkpoint)

    def prepare(self) -> None:
        self.is_running = False
        self.world.beat()
        self.lane.prepare()
        self.query = Query(self.checkpoint)
        self.is_running = True

    def run(self, upto: int | None) -> None:
        """Plan, compute, write, commit."""
        number = self.query.plan(upto, len(self.world.source), self.world.clock_s)
        ran = run_batch(self.checkpoint, number, self.world.source, self.metrics)
        self.world.redis.pause()
        if number > self.checkpoint.told[0]:
            early = [event for event in ran.accepted if event.at_s < self.checkpoint.told[1]]
            assert not early, f"accepted below the watermark that was told: {early}"
        frame = SimpleNamespace(toArrow=lambda: ran.rows)
        self.lane.handle(cast(Any, frame), cast(Any, SimpleNamespace(facts=ran.facts)), number)
        self.checkpoint.told = (number, self.lane._progress.watermark or 0)
        self.query.commit(ran.state, ran.next_watermark_s)

    def look(self) -> None:
        if not self.lane.holds_views():
            self.is_running = False


def _run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """A coroutine that never waits, for all that it waits for is in memory."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("something in the model waits")


async def _at_once(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return function(*args, **options)
