"""Segments of the `files` source as a stream. A record's position is its segment's name and its row in it."""

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings

_SCHEMA = "value binary, received_at timestamp"
_MAX_BATCH_BYTES = 128 * 1024 * 1024
_FOR_EVER = "36500d"
"""Trap: the default maxFileAge of 7 days silently skips segments that are older than the newest one by that much."""


def read_segments(spark: SparkSession, settings: Settings, contract: str) -> DataFrame:
    """Every visible segment once, oldest first; a micro-batch takes a bounded number of bytes."""
    folder = settings.home / "source" / contract
    return (
        spark.readStream.format("parquet")
        .schema(_SCHEMA)
        .option("maxFileAge", _FOR_EVER)
        .option("maxBytesPerTrigger", _MAX_BATCH_BYTES)
        .option("pathGlobFilter", "*.parquet")
        .load(str(folder))
        .select(
            "value",
            "received_at",
            F.col("_metadata.file_name").alias("source"),
            F.lit(0).alias("source_partition"),
            F.col("_metadata.row_index").alias("source_offset"),
        )
    )
