"""The projection in front of the universal state, analysed without running it."""

from typing import TYPE_CHECKING

import pytest

from conf.settings import PACKAGED, Settings
from tidemark.metrics.registry import load_registry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


@pytest.mark.parametrize("contract", ["access", "clickstream", "orders", "telemetry"])
def test_every_shipped_metric_lets_its_windows_leave_the_state(
    spark: "SparkSession", settings: Settings, contract: str
) -> None:
    from streaming.contract_stream import metrics_by_lane
    from tests.streaming.stage import Stage

    registry = load_registry([PACKAGED])
    stage = Stage(spark, settings, contract)
    stage.source.prepare()
    for lane, metrics in metrics_by_lane(registry.metrics_of(contract)).items():
        fields = stage.lane(metrics, lane).frame().columns
        assert fields[:5] == ["family", "part", "wlen", "start", "dims_key"]
