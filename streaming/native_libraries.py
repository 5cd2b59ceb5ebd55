"""Libraries that Java unpacks into a temporary file when it first needs them.

One that met a full disk then is lost for the life of that JVM: each later attempt fails, also once there is room again.
"""

from typing import TYPE_CHECKING

from py4j.protocol import Py4JError

from runtime.storage_trouble import root_cause, storage_trouble
from tidemark.errors import Fault

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class LibraryNotLoaded(Fault):
    """Java cannot unpack a library that every write to the lake needs."""


def unpack_compression(spark: "SparkSession") -> None:
    """Load what compresses Parquet now, not at the first write to the lake. Executors elsewhere load their own."""
    try:
        spark._jvm.org.xerial.snappy.Snappy.getNativeLibraryVersion()  # type: ignore[union-attr]
    except Py4JError as error:
        raise LibraryNotLoaded(
            f"Java cannot load what compresses Parquet: {storage_trouble(error) or root_cause(error)}"
        ) from error
