"""The one session of the tests, for a while with what the stream's own session has beyond it."""

from collections.abc import Iterator, Mapping
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
    with conf_of(spark, theirs):
        yield spark


@contextmanager
def conf_of(spark: "SparkSession", wanted: Mapping[str, str]) -> "Iterator[None]":
    """These settings for a while, then what was there."""
    before = {name: spark.conf.get(name, None) for name in wanted}
    try:
        for name, value in wanted.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, held in before.items():
            spark.conf.unset(name) if held is None else spark.conf.set(name, held)
