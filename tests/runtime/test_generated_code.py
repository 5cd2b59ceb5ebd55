"""Generated code is kept as long as a stream of every pack needs it."""

import pytest
from pyspark.sql import SparkSession

_PLANS_OF_ALL_PACKS = 180
"""A few more than the 164 distinct pieces that one stream of access, clickstream and orders was seen to need."""
_OF_NO_OTHER_TEST = 7_000_000
"""The session is shared: a plan that another test had run would be generated already."""

pytestmark = pytest.mark.spark


def test_what_a_round_of_micro_batches_needs_is_generated_once(spark: SparkSession) -> None:
    plans = [spark.range(1).selectExpr(f"id + {_OF_NO_OTHER_TEST + each}") for each in range(_PLANS_OF_ALL_PACKS)]
    compilations = spark._jvm.org.apache.spark.metrics.source.CodegenMetrics.METRIC_COMPILATION_TIME()  # type: ignore[union-attr]

    def one_round() -> int:
        before = compilations.getCount()
        for plan in plans:
            plan._jdf.queryExecution().executedPlan().execute().count()
        return int(compilations.getCount() - before)

    assert one_round() >= _PLANS_OF_ALL_PACKS
    assert one_round() == 0
