"""The one session of the tests, for a while with what the stream's own session has beyond it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from conf.settings import Settings
from streaming.speed_job import stream_conf

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@contextmanager
def as_stream(spark: "SparkSession", settings: Settings) -> "Iterator[SparkSession]":
    """Settings that count only where a JVM starts stay as they are."""
    theirs = {name: value for name, value in stream_conf(settings).items() if spark.conf.isModifiable(name)}
    before = {name: spark.conf.get(name, None) for name in theirs}
    try:
        for name, value in theirs.items():
            spark.conf.set(name, value)
        yield spark
    finally:
        for name, held in before.items():
            spark.conf.unset(name) if held is None else spark.conf.set(name, held)
