"""The quick check must know ordinary traffic: what it does not know is judged exactly, at ten times the price."""

from typing import TYPE_CHECKING

import pytest

from conf.settings import PACKAGED
from data.stream import PACKS, sent_records
from data.traffic import Traffic
from tests.quality.corpus import ARRIVED
from tidemark.metrics.registry import load_registry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
REGISTRY = load_registry([PACKAGED], PACKAGED)


@pytest.mark.parametrize("pack", PACKS)
def test_ordinary_events_of_a_pack_are_certainly_valid(spark: "SparkSession", pack: str) -> None:
    from pyspark.sql import functions as F

    from quality.fast_check import is_certainly_valid
    from quality.json_columns import event_of, event_type, read_json

    contract = REGISTRY.contracts[pack].newest
    traffic = Traffic(pack, rate=10, seconds=60, seed=5, start_ms=int(ARRIVED.timestamp() - 3600) * 1000)
    texts = [(sent.raw.decode(),) for sent in sent_records(traffic, contract)]
    text = F.col("text")
    read = read_json(text, event_type(contract)).alias("read")
    parsed = spark.createDataFrame(texts, "text string").select("text", read)
    certain = is_certainly_valid(contract, event_of(F.col("read")), text, F.lit(ARRIVED))
    left = [row.text for row in parsed.where(~certain).collect()]
    assert left == [], f"{len(left)} of {len(texts)} are judged exactly, first {left[:1]}"
