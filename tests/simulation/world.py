"""One deployment in memory: clock, source, engine, Redis and lake are models; lane, fence's client, batch's
publication, and serving's reader are the product's own code.

Every method is one thing that can happen. After each, `check` asks what a reader would ask and holds every answer
against a recompute of the source: it may say that something is missing, and what it shows must be right.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import redis

from tests.simulation.definitions import CONTRACT, LANE, METRICS, PEAKS, TOTALS, Event
from tests.simulation.driver import Driver
from tests.simulation.engine import AnotherQuery, Checkpoint, check_slots
from tests.simulation.fake_redis import FakeRedis
from tests.simulation.fence_model import FenceModel
from tests.simulation.interrupts import Crash, Interrupt, interrupted
from tests.simulation.lake_model import LakeModel
from tests.simulation.nightly_model import NightlyModel
from tests.simulation.reader import Reader
from tests.simulation.source_model import SourceModel
from tests.simulation.stand_ins import StandIns
from tidemark import keys
from tidemark.errors import SourceNotDrained, StaleWriter, ViewsUnavailable
from tidemark.metrics.model import Metric
from tidemark.progress import Progress
from tidemark.windows import Span, floor_to

START_S = 1_772_323_200 + 35_000  # 2026-03-01T09:43:20Z
LOOK_EVERY = 3
"""After how many writes of a batch a reader looks; most of them prepare what none can see yet."""
_progress = lru_cache(maxsize=256)(Progress.from_json)


class World:
    """`watch`: look also between any two steps that a writer takes. `starts`: (epoch, checkpoint) of all."""

    def __init__(self, fence: FenceModel | None = None, *, watch: bool = True) -> None:
        check_slots(TOTALS, PEAKS)
        self.clock_s = float(START_S)
        self.source = SourceModel(START_S)
        self.redis = FakeRedis(lambda: self.clock_s, fence)
        self.lake = LakeModel()
        self.checkpoints: list[Checkpoint] = []
        self.metrics: tuple[Metric, ...] = (TOTALS, PEAKS)
        self.driver: Driver | None = None
        self.beside: Driver | None = None
        self.starts: set[tuple[int, str]] = set()
        self.batch: Iterator[None] | None = None
        self.begun_at: dict[tuple[str, int], int] = {}
        self.losses = 0
        self.redefined = False
        self.snapshots: list[Any] = []
        self.watch = watch
        self._stand_ins = StandIns(self)
        self.new_checkpoint()
        self._reader = Reader(self)

    def close(self) -> None:
        self._stand_ins.close()

    # --- what can happen

    def advance(self, seconds: float) -> None:
        self.clock_s += seconds

    def ingest(self, age_s: int, device: str = "a", count: int = 1) -> Event:
        """An event of `age_s` ago (negative: ahead). A second passes: serving's look at the source is that old."""
        self.advance(1)
        event = Event(f"e{len(self.source)}", int(self.clock_s) - age_s, device, count, self.clock_s)
        self.source.append(event)
        return event

    def repeat(self, number: int) -> None:
        """A producer's retry: an earlier event comes once more."""
        self.advance(1)
        if len(self.source):
            old = self.source[number % len(self.source)]
            self.source.append(Event(old.id, old.at_s, old.device, old.count, self.clock_s))

    def write_lake(self) -> None:
        """The lake writer takes what is there."""
        self.lake.bronze = len(self.source)

    def clean_source(self) -> None:
        """Retention: records that every query has consumed go."""
        taken = min(self.lake.bronze, self.checkpoints[-1].committed_end)
        self.source.cleaned = max(self.source.cleaned, taken)

    def new_checkpoint(self) -> None:
        """The folder of the stream is lost: the next start begins a new one, from what the source still has."""
        self.kill()
        if self.checkpoints:
            self.losses += 1
        self.checkpoints.append(Checkpoint(f"checkpoint-{len(self.checkpoints)}", self.source.cleaned))

    def start(self, metrics: tuple[Metric, ...] | None = None, *, interrupt: Interrupt | None = None) -> None:
        """Start the stream, or the query again within the process when it failed."""
        if metrics is not None:
            self.metrics = metrics
        if self.driver is None:
            self.driver = Driver(self, self.checkpoints[-1], self.metrics)
        self._guarded(self.driver, self.driver.prepare, interrupt)

    def tick(self, upto: int | None = None, *, interrupt: Interrupt | None = None) -> None:
        """One micro-batch, over at most the next `upto` records."""
        driver = self.driver
        if driver is not None and driver.is_running:
            self._guarded(driver, lambda: driver.run(upto), interrupt)

    def live(
        self,
        events: Sequence[tuple[int, str, int]],
        *,
        upto: int | None = None,
        interrupt: Interrupt | None = None,
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

    def change_over(self) -> None:
        """Of two streams that run (one that hung and woke, and the one that replaced it) the other goes on."""
        if self.beside is not None:
            self.driver, self.beside = self.beside, self.driver

    def tick_beside(self) -> None:
        """The other of two streams runs a batch."""
        other = self.beside
        if other is not None and other.is_running:
            self._guarded(other, lambda: other.run(None), None)

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
        self.batch = NightlyModel(self).steps(through_s, full, failing)

    def go_on_with_batch(self, steps: int, *, interrupt: Interrupt | None = None) -> None:
        """The next steps of the batch that is under way; it ends when it fails, dies, or is done."""
        for _ in range(steps):
            if self.batch is None:
                return
            try:
                with interrupted(self, interrupt, look_every=LOOK_EVERY):
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

    # --- what goes wrong within

    def _guarded(self, driver: Driver, call: Callable[[], None], interrupt: Interrupt | None) -> None:
        try:
            with interrupted(self, interrupt):
                call()
            if driver is not self.driver and driver.is_running:
                self.beside = driver
        except (Crash, StaleWriter, AnotherQuery):
            driver.is_running = False
            if self.driver is driver:
                self.driver = None
            if self.beside is driver:
                self.beside = None
        except (ViewsUnavailable, redis.RedisError):
            driver.is_running = False

    # --- what must hold

    def checkpoint(self, uri: str) -> Checkpoint:
        return next(each for each in self.checkpoints if each.uri == uri)

    def progress(self) -> Progress | None:
        held = self.redis.peek(keys.progress(CONTRACT.name, LANE))
        return _progress(held) if held else None

    @property
    def answers(self) -> int:
        return self._reader.answers

    def ask(self, metric: Metric, window_s: int, span: Span) -> dict[str, Any]:
        return self._reader.ask(metric, window_s, span)

    def check(self, questions: int = 2) -> None:
        """R for the next few questions, in turn."""
        self._reader.check(questions)

    def check_amid(self, reads: int, act: Callable[["World"], None]) -> None:
        """R for the next question, when something happens after so many reads of its answer."""
        self._reader.check_amid(reads, act)

    def settle(self) -> None:
        """All faults end, everything is drained and sealed: now every answer must be whole, and right."""
        self.redis.is_down, self.batch = False, None
        self.advance(20)
        if len(self.metrics) < len(METRICS):
            self.kill()
            self.metrics = (TOTALS, PEAKS)
        for _ in range(3):
            self.start() if self.driver is None else self.supervise()
            self.tick()
            self.tick()
        self._reader.check_whole()
        self.write_lake()
        self.run_batch(floor_to(self.clock_s, 3600))
        self.supervise()
        self._reader.check_whole()
