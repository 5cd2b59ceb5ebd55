"""The batch: silver, gold, gates, publish, parity, over all contracts in one session.

Batch owns every window that ended at or before `sealed_through`. This job moves it to `--through` (default: the last
UTC midnight) for every metric whose gates pass, each floored to the metric's longest window, and seals again what late
events made dirty. Metrics whose gate fails keep their old publication; the others are published; the exit code is 1.
A rerun after a kill at any point finishes what was left.
"""

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import redis
import structlog

from conf.locations import is_remote
from conf.settings import Settings
from intake.position import Position
from quality.gate import preload_in_background
from spark_jobs import barrier, gates, parity, publish
from spark_jobs.batch_lock import local_lock, remote_lease
from spark_jobs.batch_report import BatchReport
from spark_jobs.build_silver import has_pending
from spark_jobs.late_ledger import update_late
from spark_jobs.ledgers import GATES, append_rows, latest_publications, replace_parity
from spark_jobs.plan import BEGINNING, MetricPlan, check_through, last_midnight
from spark_jobs.script import SparkSource, parse_through, registry_of, run_script, script_arguments
from spark_jobs.settle import ContractBatch, Outcome
from tidemark.keys import LakeTables
from tidemark.metrics.registry import Registry
from tidemark.publication import Publication

log = structlog.get_logger()
Show = Callable[[str], object]


class Nightly:
    """One batch. Holds what its steps share; the steps are methods, in the order in which `run` calls them."""

    def __init__(
        self,
        spark: SparkSource,
        settings: Settings,
        registry: Registry,
        through: int | None,
        now: float,
        full: bool,
        show: Show,
    ) -> None:
        self._spark, self._settings, self._registry = spark, settings, registry
        self._asked, self._now, self._full, self._show = through, now, full, show
        self._through = last_midnight(now) if through is None else through
        self._tables = LakeTables(settings.lake_uri)
        self._batch_id = uuid.uuid4().hex
        self.report = BatchReport(self._through)

    def run(self) -> BatchReport:
        """Raises UserError for a `through` that cannot be, Fault when nothing can be sealed. Gates: see the report."""
        started = time.monotonic()
        registry = self._registry
        with self._locked(), publish.connect(self._settings) as client, self._leased(client) as check_sole:
            published = publish.heal(client, self._tables, registry.metrics, registry.contracts)
            ends = barrier.run(self._settings, registry.contracts.values(), client)
            outcomes = self._settle(published)
            self._publish(client, outcomes, ends, check_sole)
            self._keep_late(client, {**published, **latest_publications(self._tables)}, outcomes)
        self.report.seconds = time.monotonic() - started
        return self.report

    @contextmanager
    def _locked(self) -> Iterator[None]:
        remote = is_remote(self._settings.lake_uri)
        with nullcontext() if remote else local_lock(Path(self._settings.lake_uri)):
            if self._asked is not None:
                published = latest_publications(self._tables)
                check_through(self._registry.metrics.values(), published, self._asked, self._now)
            yield

    @contextmanager
    def _leased(self, client: "redis.Redis") -> Iterator[Callable[[], None]]:
        lake = self._settings.lake_uri
        with remote_lease(client, lake) if is_remote(lake) else nullcontext(_is_locked) as check:
            yield check

    def _settle(self, published: Mapping[str, Publication]) -> list[Outcome]:
        """Silver and gold of every contract; the results of all gates in one commit of `_gates`."""
        if any(has_pending(self._tables, name) for name in self._registry.contracts):
            preload_in_background()
        outcomes: list[Outcome] = []
        results = []
        for name, contracts in sorted(self._registry.contracts.items()):
            self._show(f"batch: {name}")
            batch = ContractBatch(self._spark, self._settings, contracts, self._through, self._full)
            silver, settled = batch.run(self._registry.metrics_of(name), published)
            log.info("settled", contract=name, new_events=silver.added, metrics=len(settled))
            self.report.add_contract(silver)
            results += [*silver.gates, *(gate for outcome in settled for gate in outcome.gates)]
            outcomes += settled
        append_rows(self._tables.gates, GATES, [gates.ledger_row(gate, self._batch_id, self._now) for gate in results])
        return outcomes

    def _publish(
        self,
        client: "redis.Redis",
        outcomes: Sequence[Outcome],
        ends: Mapping[str, Position],
        check_sole: Callable[[], None],
    ) -> None:
        """Parity first: publishing lets the speed windows lapse that it reads."""
        planned: list[tuple[MetricPlan, Publication]] = []
        rows = []
        for outcome in outcomes:
            plan, gold = outcome.plan, outcome.gold
            compared: list[parity.Parity] = []
            if outcome.is_publishable:
                uri = self._tables.gold(plan.metric.name)
                compared = parity.compare(client, plan, uri, gold.version, ends[plan.metric.contract])
                rows += [parity.ledger_row(p, plan.metric, plan.version, self._batch_id, self._now) for p in compared]
                new = publish.new_publication(plan, gold.version, outcome.silver.version, self._now)
                planned.append((plan, new))
            self.report.add_metric(outcome, compared)
        self._show(f"batch: publishing {len(planned)} metrics")
        replace_parity(self._tables.parity, rows)
        publish.run(client, self._tables, planned, check_sole)

    def _keep_late(
        self, client: "redis.Redis", published: Mapping[str, Publication], outcomes: Sequence[Outcome]
    ) -> None:
        """The late ledger of every contract, and late buckets that are in the batch's numbers now."""
        silver = {outcome.plan.metric.contract: outcome.silver for outcome in outcomes}
        for name, contracts in self._registry.contracts.items():
            metrics = self._registry.metrics_of(name)
            sealed = {m.name: published[m.name].sealed_through if m.name in published else BEGINNING for m in metrics}
            if metrics and name in silver:
                update_late(client, self._tables, contracts, silver[name].version, min(sealed.values()))
            for lane in {metric.lane for metric in metrics}:
                lane_sealed = min(sealed[metric.name] for metric in metrics if metric.lane == lane)
                publish.forget_late(client, name, lane, lane_sealed)


def _is_locked() -> None:
    """A file lock is held for as long as the process lives."""


def run(
    spark: SparkSource,
    settings: Settings,
    registry: Registry,
    through: int | None,
    now: float,
    full: bool = False,
    show: Show | None = None,
) -> BatchReport:
    """One batch over every contract and metric of the registry; `show` is told in words what is being done."""
    return Nightly(spark, settings, registry, through, now, full, show or (lambda _: None)).run()


def main(argv: Sequence[str] | None = None) -> None:
    """`nightly.py [--env E] [--through ISO] [--full] [--json]`"""
    arguments = script_arguments(main.__doc__, argv, "--through", "--full", "--json")

    def job(spark: SparkSource, settings: Settings) -> bool:
        now = time.time()
        through = parse_through(arguments.through)
        report = run(spark, settings, registry_of(settings), through, now, arguments.full)
        print(json.dumps(report.to_document(), indent=None if arguments.json else 2))
        report.raise_for_gates()
        return True

    sys.exit(run_script("nightly", arguments, job))


if __name__ == "__main__":
    main()
