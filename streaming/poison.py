"""Finds the metrics that make a query fail, so that they can be set aside and the others go on.

A definition that compiles may still fail when it runs: a hole in the compiler, an input that nobody thought of. One
query serves all metrics of a contract, so its failure does not say whose it is. Here the micro-batch that failed is
read again as a plain frame and each metric is computed on it alone.
"""

from collections.abc import Sequence
from copy import deepcopy

import structlog
from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from quality.stream_check import valid_events
from runtime.storage_trouble import root_cause
from streaming.checkpoint_log import CheckpointLog, PositionTracker
from streaming.sources import read_range
from streaming.speed_views import add_bucket, aggregate_state, columns_read, explode_families
from streaming.view_rows import ViewRows
from tidemark.contracts import ContractSet
from tidemark.metrics.model import Metric

LOG = structlog.get_logger()


class Suspects:
    """The metrics of one lane, to be tried on the batch that its query could not finish."""

    def __init__(self, spark: SparkSession, settings: Settings, contract: ContractSet, lane: str) -> None:
        self._spark = spark
        self._settings = settings
        self._contract = contract
        self._lane = lane

    def guilty(self, log: CheckpointLog, metrics: Sequence[Metric]) -> dict[str, BaseException]:
        """Name of a metric → what it fails with. Empty when they all work, or when it fails without any of them."""
        try:
            records = self._failed_batch(log)
        except Exception as error:  # noqa: BLE001  the source or the session is in trouble: no metric's doing
            LOG.warning("the failed batch cannot be read again", lane=self._lane, error=root_cause(error))
            return {}
        if self._trouble(records, metrics) is None or self._trouble(records, ()) is not None:
            return {}
        alone = {metric.name: self._trouble(records, (metric,)) for metric in metrics}
        return {name: trouble for name, trouble in alone.items() if trouble is not None}

    def _failed_batch(self, log: CheckpointLog) -> DataFrame:
        """The records of the batch that was planned and not committed; none when the query did not come that far."""
        tracker = PositionTracker(log)
        start = end = deepcopy(tracker.position)
        planned, commit = log.last_planned(), log.last_commit()
        if planned is not None and (commit is None or planned > commit.batch):
            end = tracker.advance(planned)
        return read_range(self._spark, self._settings, self._contract.name, start, end)

    def _trouble(self, records: DataFrame, metrics: Sequence[Metric]) -> BaseException | None:
        try:
            rows = (
                valid_events(records, self._contract, self._settings, columns_read(self._contract, metrics))
                .transform(add_bucket, self._contract)
                .transform(explode_families, metrics, self._lane)
                .transform(aggregate_state, self._lane)
                .toArrow()
            )
            for _ in ViewRows(self._contract.name, metrics).commands(rows):
                pass
        except Exception as error:  # noqa: BLE001  whatever it is, it is what the query fails with
            return error
        return None
