"""The configured source as a streaming frame.

Grain: one row per record as it was sent. Columns: `value` binary, `received_at` timestamp, `source` string,
`source_partition` int, `source_offset` bigint; the last three are the record's position.
"""

from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from intake.position import Position
from streaming.sources import files, kafka, kinesis

COLUMNS = ("value", "received_at", "source", "source_partition", "source_offset")


def read_source(spark: SparkSession, settings: Settings, contract: str) -> DataFrame:
    """The stream of a contract's records, from the source's beginning. UserError for a source that is not available."""
    readers = {"files": files.read_segments, "kafka": kafka.read_topic, "kinesis": kinesis.read_stream}
    return readers[settings.source](spark, settings, contract).select(*COLUMNS)


def read_range(spark: SparkSession, settings: Settings, contract: str, start: Position, end: Position) -> DataFrame:
    """What lies between two positions of the source, as a plain frame: a micro-batch to look at again."""
    readers = {"files": files.read_segments_between, "kafka": kafka.read_topic_between}
    return readers[settings.source](spark, settings, contract, start, end).select(*COLUMNS)
