"""The speed layer as a process: `spark-submit streaming/speed_job.py --env local [--once] [--source-contract C]…`.

Drains the configured source into the lake and the speed views. Exit 0 at the end of `--once` and after SIGTERM or
SIGINT, 1 naming the query that could not recover, 2 for wrong use.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    # spark-submit puts this file's folder on the path, not the project's.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conf.settings import Settings, load_settings
from runtime.logs import configure_logging
from runtime.redis_server import redis_url
from runtime.spark_session import build_session, starts_jvm
from runtime.state_store import state_store_conf
from runtime.storage_trouble import storage_trouble
from streaming.fenced_writer import connect
from streaming.native_libraries import unpack_compression
from streaming.supervisor import Show, Supervisor
from tidemark.errors import TidemarkError, UserError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_COSTLY_RULES = (
    *(
        f"org.apache.spark.sql.catalyst.optimizer.{rule}"
        for rule in (
            "BooleanSimplification",
            "FoldablePropagation",
            "NullPropagation",
            "OptimizeCsvJsonExprs",
            "OptimizeOneRowRelationSubquery",
            "PushFoldableIntoBranches",
            "RemoveRedundantAliases",
            "ReorderAssociativeOperator",
            "SimplifyBinaryComparison",
            "SimplifyConditionals",
            "UnwrapCastInBinaryComparison",
        )
    ),
    "org.apache.spark.sql.delta.metric.OptimizeConditionalIncrementMetric",
    "org.apache.spark.sql.delta.optimizer.RangePartitionIdRewrite",
)
"""Optimiser rules that cost a small batch more than they gain: its plan is made anew, twice, each time. None of them is
needed for a right result."""
_STREAMING = {
    "spark.sql.optimizer.excludedRules": ",".join(_COSTLY_RULES),
    # It plans a query anew after each of its stages, which costs a small append or a Delta log more than it can gain.
    "spark.sql.adaptive.enabled": "false",
    # An idle query asks its source this often for news.
    "spark.sql.streaming.pollingDelay": "50ms",
    # Counting all keys of a state store costs a read before every write.
    "spark.sql.streaming.stateStore.rocksdb.trackTotalNumberOfRows": "false",
    "spark.sql.streaming.minBatchesToRetain": "20",
    # Uploads snapshots and removes what they replace. Only a driver that lives so long does: one that is killed each
    # minute would have ever more changes to read again at its start, and a checkpoint that grows.
    "spark.sql.streaming.stateStore.maintenanceInterval": "20s",
    "spark.sql.streaming.numRecentProgressUpdates": "10",
    # The lake writer keeps a batch only until it has written it: looking for the best way to pack each column was a
    # quarter of its CPU.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    # Concurrent appends of one small table each: no need to sort for statistics of 32 columns of raw text.
    "spark.databricks.delta.properties.defaults.dataSkippingNumIndexedCols": "16",
}


def run(
    settings: Settings, contracts: Sequence[str] = (), *, once: bool, show: Show | None = None
) -> list[dict[str, Any]]:
    """Run the speed layer in this process; a summary per contract at its end. TidemarkError when it cannot go on."""

    @cache
    def session() -> "SparkSession":
        built.append(True)
        return build_session("tidemark-speed", settings, extra=stream_conf(settings))

    @cache
    def prepared() -> "SparkSession":
        unpack_compression(session())
        return session()

    built: list[bool] = []
    client = connect(redis_url(settings))
    supervisor = Supervisor(prepared, settings, client, contracts)
    try:
        with _stop_on_signals() as stop:
            return supervisor.run(once=once, stop=stop, show=show)
    finally:
        client.close()
        if built:
            _end(session())


def stream_conf(settings: Settings) -> dict[str, str]:
    """What a session of the stream has beyond `build_session`'s own.

    On this machine that is twice as many task threads as cores: the speed views' short tasks do not wait for a slot
    until the lake writer's long ones end, but share the cores with them.
    """
    conf = {**_STREAMING, **(state_store_conf() if starts_jvm(settings) else {})}
    if settings.spark_master == "local[*]":
        conf["spark.master"] = f"local[{2 * (os.cpu_count() or 1)}]"
    return conf


def _end(session: "SparkSession") -> None:
    """Without the state stores' maintenance: a thread of its own, it would complain of the end below our last line."""
    session._jvm.org.apache.spark.sql.execution.streaming.state.StateStore.stop()  # type: ignore[union-attr]
    session.stop()


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the former handlers come back afterwards."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str]) -> int:
    """Parse, run, exit code."""
    parser = argparse.ArgumentParser(prog="speed_job", description="The speed layer of Tidemark.")
    parser.add_argument("--env", choices=("local", "test", "aws"))
    parser.add_argument("--once", action="store_true", help="drain what is there, then exit")
    parser.add_argument("--source-contract", action="append", default=[], help="only this contract; may be repeated")
    given = parser.parse_args(argv)
    try:
        settings = load_settings(given.env)
        configure_logging(settings)
        run(settings, given.source_contract, once=given.once)
    except TidemarkError as error:
        print(f"speed_job: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except Exception as error:
        if trouble := storage_trouble(error):
            print(f"speed_job: {trouble}", file=sys.stderr)
            return 1
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
