"""A topic of the `kafka` source as a stream. A record's position is topic, partition and offset."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from tidemark.errors import SettingsError

_MAX_BATCH_RECORDS = 1_000_000


def read_topic(spark: SparkSession, settings: Settings, contract: str) -> DataFrame:
    """The topic from its beginning. Records that the broker deleted before they were read fail the query, loudly."""
    if not settings.kafka_bootstrap:
        raise SettingsError("TIDEMARK_KAFKA_BOOTSTRAP: must be set when TIDEMARK_SOURCE is kafka")
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", settings.kafka_bootstrap)
        .option("subscribe", settings.kafka_topic_prefix + contract)
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", _MAX_BATCH_RECORDS)
        # The broker answers a fetch when there is data or after this long; the default of 500 ms is pure delay.
        .option("kafka.fetch.max.wait.ms", "20")
        .load()
        .select(
            F.coalesce("value", F.lit(b"")).alias("value"),
            F.col("timestamp").alias("received_at"),
            F.col("topic").alias("source"),
            F.col("partition").alias("source_partition"),
            F.col("offset").alias("source_offset"),
        )
    )
