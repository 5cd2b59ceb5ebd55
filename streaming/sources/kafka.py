"""A topic of the `kafka` source as a stream. A record's position is topic, partition and offset."""

import json

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from intake.position import SEGMENTS, Position, lag
from tidemark.errors import SettingsError

_MAX_BATCH_RECORDS = 500_000
"""What bounds a micro-batch's memory: a record changes at most one row per metric and window length."""
_EARLIEST = -2
"""Spark's word for a partition's beginning."""


def read_topic(spark: SparkSession, settings: Settings, contract: str) -> DataFrame:
    """The topic from its beginning. Records that the broker deleted before they were read fail the query, loudly."""
    return _with_position(
        spark.readStream.format("kafka")
        .options(**_options(settings, contract))
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", _MAX_BATCH_RECORDS)
        .load()
    )


def read_topic_between(
    spark: SparkSession, settings: Settings, contract: str, start: Position, end: Position
) -> DataFrame:
    """The records between two positions, as a plain frame."""
    topic = settings.kafka_topic_prefix + contract
    last = end.get(topic, {})
    first = {partition: start.get(topic, {}).get(partition, _EARLIEST) for partition in last}
    reader = spark.read.format("kafka").options(**_options(settings, contract))
    return _with_position(
        reader.option("startingOffsets", json.dumps({topic: first}) if last else "earliest")
        .option("endingOffsets", json.dumps({topic: last}) if last else "latest")
        .load()
    )


def may_have_left(start: Position, end: Position) -> bool:
    """Whether a batch between two positions may have left records that the topic held when it was planned.

    Of a backlog each partition gives its share, so the newest record that was taken says nothing of the others. Shares
    are rounded per partition. Segments of the `files` source are taken in the order in which they came.
    """
    partitions = sum(map(len, end.values()))
    return SEGMENTS not in end and lag(end, start) >= _MAX_BATCH_RECORDS - partitions


def _options(settings: Settings, contract: str) -> dict[str, str]:
    if not settings.kafka_bootstrap:
        raise SettingsError("TIDEMARK_KAFKA_BOOTSTRAP: must be set when TIDEMARK_SOURCE is kafka")
    return {
        "kafka.bootstrap.servers": settings.kafka_bootstrap,
        "subscribe": settings.kafka_topic_prefix + contract,
        "failOnDataLoss": "true",
        # The broker answers a fetch when there is data or after this long; the default of 500 ms is pure delay.
        "kafka.fetch.max.wait.ms": "20",
    }


def _with_position(records: DataFrame) -> DataFrame:
    return records.select(
        F.coalesce("value", F.lit(b"")).alias("value"),
        F.col("timestamp").alias("received_at"),
        F.col("topic").alias("source"),
        F.col("partition").alias("source_partition"),
        F.col("offset").alias("source_offset"),
    )
