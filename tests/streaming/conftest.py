"""The stage of the speed layer's tests."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from conf.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.streaming.stage import Stage


@pytest.fixture
def stage(spark: "SparkSession", settings: Settings) -> "Iterator[Stage]":
    from tests.stream_session import as_stream
    from tests.streaming.stage import Stage

    with as_stream(spark, settings):
        staged = Stage(spark, settings)
        yield staged
        staged.client.close()
