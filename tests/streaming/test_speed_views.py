"""The projection in front of the universal state, analysed without running it."""

import re
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import pytest

from conf.settings import PACKAGED, Settings
from tidemark.metrics.registry import load_registry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

_LONGEST_COMPILED = 8_000
"""Bytes of a method's code beyond which HotSpot interprets it for ever (its HugeMethodLimit)."""


@pytest.mark.parametrize("contract", ["access", "clickstream", "orders", "telemetry"])
def test_every_shipped_metric_lets_its_windows_leave_the_state_in_code_that_is_compiled(
    spark: "SparkSession", settings: Settings, contract: str
) -> None:
    from streaming.contract_stream import metrics_by_lane
    from tests.stream_session import as_stream
    from tests.streaming.stage import Stage

    registry = load_registry([PACKAGED])
    stage = Stage(spark, settings, contract)
    stage.source.prepare()
    with as_stream(spark, settings):
        for lane, metrics in metrics_by_lane(registry.metrics_of(contract)).items():
            frame = stage.lane(metrics, lane).frame()  # a Fault when it has lost the watermark
            assert frame.columns[:5] == ["family", "part", "wlen", "start", "dims_key"]
            with redirect_stdout(StringIO()) as told:
                frame.explain("codegen")
            sizes = [int(size) for size in re.findall(r"maxMethodCodeSize:(\d+)", told.getvalue())]
            assert sizes
            assert max(sizes) < _LONGEST_COMPILED, (lane, sizes)
