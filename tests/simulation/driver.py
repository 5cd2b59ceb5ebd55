"""One process of the stream: the product's lane over the model's engine."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from conf.settings import Settings
from streaming.speed_lane import SpeedLane
from tests.simulation.definitions import CONTRACT, LANE
from tests.simulation.engine import Checkpoint, LogInMemory, NoteInMemory, Query, run_batch
from tidemark.metrics.model import Metric

if TYPE_CHECKING:
    from tests.simulation.world import World

SETTINGS = Settings(env="test", home=Path("/nowhere"))


class Driver:
    """`is_running`: its query runs; `query` is the last one."""

    def __init__(self, world: "World", checkpoint: Checkpoint, metrics: tuple[Metric, ...]) -> None:
        self.world, self.checkpoint, self.metrics = world, checkpoint, metrics
        self.is_running = False
        self.query: Query
        self.lane = SpeedLane(
            lambda: cast(Any, None),
            SETTINGS,
            CONTRACT,
            LANE,
            metrics,
            cast(Any, world.source),
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
        start = (self.lane._writer.epoch, self.checkpoint.uri)
        assert start not in self.world.starts, f"{start} names two starts"
        self.world.starts.add(start)
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
        self.checkpoint.told = (number, self.lane._progress.record.watermark or 0)
        self.query.commit(ran.state, ran.next_watermark_s)

    def look(self) -> None:
        if not self.lane.holds_views():
            self.is_running = False
