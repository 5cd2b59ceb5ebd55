"""The only builder of Spark sessions.

Two kinds of settings: those of the driver's JVM count only where this process starts it (`spark_master` is set and no
spark-submit came before); the others hold everywhere, also on a platform that brings its own Delta and memory.
pyspark is imported here and nowhere else in `runtime`: a command that needs no Spark must not pay for it.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from conf.locations import is_remote
from conf.settings import Settings
from runtime.class_archive import archive_options
from runtime.jars import spark_jars
from runtime.state_store import state_store_jar

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_BARE_LOCAL_FS = "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem"
_CHECKPOINT_FILES = "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
_ROCKSDB = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"


def build_session(app_name: str, settings: Settings, *, extra: Mapping[str, str] | None = None) -> "SparkSession":
    """A session with Delta, in UTC, ANSI on; `extra` wins over everything here.

    Trap: one process has one driver JVM. A second call with other JVM settings gets the first one's.
    """
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    builder = SparkSession.builder.appName(app_name)
    for key, value in session_conf(settings, extra).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def session_conf(settings: Settings, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """All that `build_session` sets, by Spark's names."""
    return {
        **_everywhere(settings),
        **(_object_store(settings) if is_remote(settings.lake_uri) or is_remote(settings.checkpoints_uri) else {}),
        **(_own_jvm(settings) if starts_jvm(settings) else {}),
        **(extra or {}),
    }


def starts_jvm(settings: Settings) -> bool:
    """Whether the driver's JVM is started by `build_session` here, so that our own archives are in it."""
    return settings.spark_master is not None and "PYSPARK_GATEWAY_PORT" not in os.environ


def _everywhere(settings: Settings) -> dict[str, str]:
    return {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # What a Python worker gets at once: a statement over it is planned each time, a record may have a megabyte.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "50000",
        "spark.sql.execution.arrow.maxBytesPerBatch": "16m",
        "spark.sql.streaming.stateStore.providerClass": _ROCKSDB,
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
        # Readers without a JVM do not all understand deletion vectors.
        "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
        # A few open files a task instead of sorting all rows by their day, of which most writes have one or two.
        "spark.sql.maxConcurrentOutputFileWriters": "8",
        "spark.ui.showConsoleProgress": "false",
        # A stream of several contracts needs more than Spark's own 100 in each round: it would generate and compile all
        # of them anew, for ever.
        "spark.sql.codegen.cache.maxEntries": "1000",
    }


def _own_jvm(settings: Settings) -> dict[str, str]:
    """Settings of a driver on this machine; everything it writes stays below the home."""
    jars, classpath = spark_jars()
    home = settings.home
    (home / "spark").mkdir(parents=True, exist_ok=True)
    return {
        "spark.master": str(settings.spark_master),
        **({"spark.driver.memory": settings.driver_memory} if settings.driver_memory else {}),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": _java_options(settings),
        # What is not there is passed over by Java: a stream then keeps its state in Spark's own store.
        "spark.driver.extraClassPath": os.pathsep.join(str(jar) for jar in (*classpath, state_store_jar())),
        "spark.jars": ",".join(str(jar) for jar in jars),
        "spark.local.dir": str(home / "spark"),
        "spark.sql.warehouse.dir": str(home / "spark" / "warehouse"),
        "spark.ui.enabled": "false",
        # Small local tables: the default of 50 tasks per snapshot costs more than the query.
        "spark.databricks.delta.snapshotPartitions": "2",
        # Hadoop forks a chmod for each local file it creates; this file system asks Java instead.
        "spark.hadoop.fs.file.impl": _BARE_LOCAL_FS,
        "spark.sql.streaming.checkpointFileManagerClass": _CHECKPOINT_FILES,
    }


def _java_options(settings: Settings) -> str:
    """Classes from the archive of set-up; a deep stack, for Spark matches a stopped callback's text recursively.

    Methods of more than 8,000 bytes are compiled too: what Spark generates for a contract of many metrics is as long.
    """
    configuration = (Path(__file__).parent / "log4j2.properties").as_uri()
    level = {"debug": "info", "info": "warn", "warning": "warn", "error": "error"}[settings.log_level]
    short_lived = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m"
    compiler = short_lived if settings.env == "test" else "-XX:-DontCompileHugeMethods"
    return (
        f"{archive_options()} {compiler} -Xss64m -Duser.timezone=UTC "
        f'"-Dlog4j2.configurationFile={configuration}" -Dtidemark.log.level={level}'
    )


def _object_store(settings: Settings) -> dict[str, str]:
    """S3A serves `s3://` too; credentials come from the platform's own chain."""
    region = {"spark.hadoop.fs.s3a.endpoint.region": settings.aws_region} if settings.aws_region else {}
    return {"spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem", **region}
