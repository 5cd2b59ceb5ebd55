"""What a batch computes for one contract: silver, then for each metric its granules in gold, with their gates.

Nothing here touches Redis, and nothing here is seen by a reader before it is published. Work that the logs show to be
none is not done: no Spark for a contract without new rows, no gold for a range without events.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from conf.settings import Settings
from quality.gate import GateResult
from runtime.storage_trouble import storage_trouble
from spark_jobs import build_gold, build_silver, gates, gold_table
from spark_jobs.added_minutes import count_added, count_all
from spark_jobs.build_gold import GoldResult
from spark_jobs.build_silver import SilverResult
from spark_jobs.delta_log import earliest, files_at, head_version, may_hold
from spark_jobs.plan import MetricPlan, plan_metric
from spark_jobs.script import SparkSource
from tidemark.contracts import ContractSet
from tidemark.errors import TidemarkError
from tidemark.keys import LakeTables
from tidemark.metrics.model import Metric
from tidemark.publication import Publication
from tidemark.windows import coalesce, window_name

PARALLEL = 3
"""Metrics built at a time: planning and commits of small ones overlap; large ones share the executors anyway."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the batch did for one metric. Publishable when every gate passed and there is something to seal."""

    plan: MetricPlan
    silver: SilverResult
    gold: GoldResult
    gates: tuple[GateResult, ...]

    @property
    def failed(self) -> tuple[GateResult, ...]:
        return tuple(gate for gate in (*self.silver.gates, *self.gates) if not gate.passed)

    @property
    def is_publishable(self) -> bool:
        return not self.failed and not self.plan.is_idle


class ContractBatch:
    """The batch of one contract."""

    def __init__(
        self, spark: SparkSource, settings: Settings, contracts: ContractSet, through: int, full: bool
    ) -> None:
        self._spark, self._settings, self._contracts = spark, settings, contracts
        self._through, self._full = through, full
        self._tables = LakeTables(settings.lake_uri)

    def run(
        self, metrics: Sequence[Metric], published: Mapping[str, Publication]
    ) -> tuple[SilverResult, list[Outcome]]:
        """Silver, then every metric; a metric of a contract whose silver was refused is not computed."""
        silver = build_silver.run(self._spark, self._settings, self._contracts)
        plans = self._plans(metrics, published, silver.version)
        untouched = {plan.metric.name: self._untouched(plan) for plan in plans}
        todo = [p for p in plans if silver.passed and not p.is_idle and self._needs_gold(p, silver.version)]
        built = self._build(todo, silver.version) if todo and silver.version is not None else {}
        return silver, [
            Outcome(plan, silver, *(built.get(plan.metric.name) or (untouched[plan.metric.name], ()))) for plan in plans
        ]

    def _plans(
        self, metrics: Sequence[Metric], published: Mapping[str, Publication], silver: int | None
    ) -> list[MetricPlan]:
        minutes: dict[int, frozenset[int]] = {}
        contracts = self._contracts
        first = (
            None
            if silver is None
            else earliest(self._tables.silver(contracts.name), silver, contracts.newest.event_time)
        )
        plans = []
        for metric in metrics:
            previous = published.get(metric.name)
            after = -1 if previous is None or previous.silver_version is None else previous.silver_version
            if silver is not None and previous is not None and after not in minutes:
                minutes[after] = self._added(after, silver)
            late = minutes.get(after, frozenset())
            full = self._full or self._is_lost(previous)
            plans.append(plan_metric(metric, previous, self._through, late, full, first))
        return plans

    def _is_lost(self, previous: Publication | None) -> bool:
        """Whether the log of gold has forgotten the version that is pinned: what came after it cannot be judged."""
        if previous is None or previous.gold_version is None:
            return False
        return files_at(self._tables.gold(previous.metric), previous.gold_version) is None

    def _added(self, after: int, upto: int) -> frozenset[int]:
        added = count_added(self._tables, self._contracts, after, upto)
        return frozenset(added if added is not None else count_all(self._tables, self._contracts, upto))

    def _untouched(self, plan: MetricPlan) -> GoldResult:
        """Gold as the last publication pinned it, or compacted since; none when all is to be rebuilt."""
        pinned = plan.previous.gold_version if plan.previous and not plan.rebuild else None
        if pinned is None or self._has_stray_rows(plan):
            return GoldResult(plan.metric.name, pinned)
        return GoldResult(plan.metric.name, head_version(self._tables.gold(plan.metric.name)))

    def _has_stray_rows(self, plan: MetricPlan) -> bool:
        """Whether gold was written since what is pinned: a batch died before it published, or was refused."""
        return gold_table.is_ahead(self._tables.gold(plan.metric.name), plan)

    def _needs_gold(self, plan: MetricPlan, silver: int | None) -> bool:
        """Whether the plan's ranges have events, or gold may hold rows there that a dead batch left behind."""
        if silver is None:
            return False
        if plan.dirty or (not plan.rebuild and self._has_stray_rows(plan)):
            return True
        uri = self._tables.silver(self._contracts.name)
        return may_hold(uri, silver, self._contracts.newest.event_time, plan.spans)

    def _build(self, plans: Sequence[MetricPlan], silver: int) -> dict[str, tuple[GoldResult, tuple[GateResult, ...]]]:
        """Gold of all plans and their totals from silver, side by side; then the gates, one after another.

        A metric that fails when it runs has a failed gate that says so; the others are built.
        """
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="gold") as pool:
            totals = pool.submit(self._totals, plans, silver)
            golds = list(pool.map(partial(self._gold, silver=silver), plans))
        return {
            plan.metric.name: self._gated(plan, gold, totals.result()[plan.metric.name])
            for plan, gold in zip(plans, golds, strict=True)
        }

    def _gold(self, plan: MetricPlan, silver: int) -> GoldResult | Exception:
        try:
            return build_gold.run(self._spark(), self._tables, self._contracts, plan, silver)
        except Exception as error:  # noqa: BLE001  whatever it is, it is this metric's; its gate tells
            return _own_failure(error)

    def _totals(self, plans: Sequence[MetricPlan], silver: int) -> dict[str, dict[str, Any] | Exception]:
        """Metric → its totals; in one pass, or one by one when that fails, to know whose failure it is."""
        try:
            return dict(self._totals_of(plans, silver))
        except Exception as error:  # noqa: BLE001  as above
            if len(plans) == 1:
                return {plans[0].metric.name: _own_failure(error)}
            alone = (self._totals([plan], silver) for plan in plans)
            return {name: found for totals in alone for name, found in totals.items()}

    def _totals_of(self, plans: Sequence[MetricPlan], silver: int) -> dict[str, dict[str, Any]]:
        spark = self._spark()
        spark.sparkContext.setJobDescription(f"totals of {self._contracts.name} for the gates of gold")
        spans = list(coalesce(span for plan in plans for span in plan.spans))
        events = build_gold.read_silver(spark, self._tables, self._contracts, silver, spans)
        event_time = self._contracts.newest.event_time
        return build_gold.silver_totals(events, [(p.metric, gold_table.span_sql(p.spans, event_time)) for p in plans])

    def _gated(
        self, plan: MetricPlan, gold: GoldResult | Exception, totals: Mapping[str, Any] | Exception
    ) -> tuple[GoldResult, tuple[GateResult, ...]]:
        for failure in (gold, totals):
            if isinstance(failure, Exception):
                return self._untouched(plan), (gates.computed_gate(plan.metric, failure),)
        assert not isinstance(gold, Exception)
        assert not isinstance(totals, Exception)
        try:
            return gold, self._gates(plan, gold, totals)
        except Exception as error:  # noqa: BLE001  as above
            return gold, (gates.computed_gate(plan.metric, _own_failure(error)),)

    def _gates(self, plan: MetricPlan, gold: GoldResult, totals: Mapping[str, Any]) -> tuple[GateResult, ...]:
        windows = [window_name(seconds) for seconds in plan.metric.windows]
        counted = gates.totals_gate(plan.metric, gold.totals or {}, totals, windows)
        if not gold.rows or gold.version is None:
            return (counted,)
        rows = gold_table.read_gold(self._spark(), self._tables, plan, gold.version)
        return counted, gates.expect_gold(rows, plan)


def _own_failure(error: Exception) -> Exception:
    """The failure of one metric; raised instead when the disk or the lake is in trouble, which is everybody's."""
    if isinstance(error, TidemarkError) or storage_trouble(error):
        raise error
    return error
