"""Segments of the `files` source as a stream. A record's position is its segment's name and its row in it."""

from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.settings import Settings
from intake.position import SEGMENTS, Position

_SCHEMA = "value binary, received_at timestamp"
_POSITION = "source string, source_partition int, source_offset bigint"
_MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Of packed segments: some 500,000 small records, whose rows of changed windows the driver collects at once."""
_FOR_EVER = "36500d"
"""Trap: the default maxFileAge of 7 days silently skips segments that are older than the newest one by that much."""


def read_segments(spark: SparkSession, settings: Settings, contract: str) -> DataFrame:
    """Every visible segment once, oldest first; a micro-batch takes a bounded number of bytes."""
    return _with_position(
        spark.readStream.format("parquet")
        .schema(_SCHEMA)
        .option("maxFileAge", _FOR_EVER)
        .option("maxBytesPerTrigger", _MAX_BATCH_BYTES)
        .option("pathGlobFilter", "*.parquet")
        .load(str(_folder(settings, contract)))
    )


def read_segments_between(
    spark: SparkSession, settings: Settings, contract: str, start: Position, end: Position
) -> DataFrame:
    """The segments of `end` that `start` lacks, as a plain frame."""
    names = sorted(set(end.get(SEGMENTS, ())) - set(start.get(SEGMENTS, ())))
    paths = [str(_folder(settings, contract) / name) for name in names]
    reader = spark.read.format("parquet").schema(_SCHEMA)
    return _with_position(reader.load(paths)) if paths else spark.createDataFrame([], f"{_SCHEMA}, {_POSITION}")


def _folder(settings: Settings, contract: str) -> Path:
    return settings.home / "source" / contract


def _with_position(segments: DataFrame) -> DataFrame:
    return segments.select(
        "value",
        "received_at",
        F.col("_metadata.file_name").alias("source"),
        F.lit(0).alias("source_partition"),
        F.col("_metadata.row_index").alias("source_offset"),
    )
