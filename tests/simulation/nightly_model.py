"""`spark_jobs.nightly` over the model's lake: the same steps in the same order."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from spark_jobs import barrier, parity, publish
from spark_jobs.plan import plan_metric
from tests.simulation.definitions import CONTRACT, LANE, METRICS
from tests.simulation.engine import consumed, position
from tests.simulation.lake_model import TABLES
from tidemark import keys
from tidemark.metrics.model import Metric
from tidemark.windows import floor_to

if TYPE_CHECKING:
    from tests.simulation.world import World


class NightlyModel:
    """Batches of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def steps(self, through_s: int, full: bool, failing: tuple[str, ...]) -> Iterator[None]:
        """A pause after each."""
        world, lake = self._world, self._world.lake
        client = cast(Any, world.redis)
        published = publish.heal(client, TABLES, METRICS, {CONTRACT.name: CONTRACT})
        begun_at = len(world.source)
        end = world.source.end_position()
        yield
        self.wait_for_lake(end)
        yield
        lake.silver.append(lake.bronze)
        silver = len(lake.silver) - 1
        planned = []
        for metric in METRICS.values():
            yield
            before = published.get(metric.name)
            plan = plan_metric(metric, before, through_s, self.late_minutes(before, silver), full)
            if plan.is_idle or metric.name in failing:
                continue
            truth = world.source.truth(metric, lake.silver[silver])
            rows = {(*window, key): held for window, groups in truth.items() for key, held in groups.items()}
            gold = lake.replace_gold(metric.name, plan.spans, rows)
            compared = parity.compare(client, plan, TABLES.gold(metric.name), gold, end)
            new = publish.new_publication(plan, gold, silver, world.clock_s)
            planned.append((plan, new))
            world.begun_at[metric.name, new.version] = begun_at
            self._check_parity(metric, compared, begun_at)
        yield
        publish.run(client, TABLES, planned, lambda: None)
        yield
        now = lake.latest()
        if len(now) == len(METRICS):
            publish.forget_late(client, CONTRACT.name, LANE, min(each.sealed_through for each in now.values()))

    def wait_for_lake(self, end: dict[str, Any]) -> None:
        barrier.wait_until_drained(
            {CONTRACT.name: end}, lambda _: position(self._world.lake.bronze), lambda _: False, timeout_s=0
        )

    def late_minutes(self, before: Any, silver: int) -> set[int]:
        known = self._world.lake.silver[before.silver_version] if before else 0
        return {floor_to(event.at_s, 60) for event in self._world.source[known : self._world.lake.silver[silver]]}

    def _check_parity(self, metric: Metric, compared: list[parity.Parity], begun_at: int) -> None:
        """Once both have read everything, they differ only where speed said that it left something out."""
        is_late = self._world.redis.peek(keys.late(CONTRACT.name, LANE))
        progress = self._world.progress()
        has_all = progress is not None and consumed(progress.position) == begun_at == len(self._world.source)
        if has_all and not is_late and not self._world.losses:
            assert not any(each.mismatched for each in compared), f"parity of {metric.name}: {compared}"
