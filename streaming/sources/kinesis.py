"""The `kinesis` source: its settings exist, reading it does not yet."""

from pyspark.sql import DataFrame, SparkSession

from conf.settings import Settings
from tidemark.errors import SettingsError


def read_stream(spark: SparkSession, settings: Settings, contract: str) -> DataFrame:
    """Always SettingsError: better a clear refusal than a stream that loses its position."""
    raise SettingsError("TIDEMARK_SOURCE: 'kinesis' is not available yet; use files or kafka")
