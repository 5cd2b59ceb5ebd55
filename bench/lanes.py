"""Some of a contract's queries in one process, drained to the end of the source: `python -m bench.lanes access exact`.

`tidemark stream` runs every lane of a contract; here each can be measured alone, without its deduplication or without
its sink, on the settings of the environment. Prints one JSON document: lane → its micro-batches in order, each with
records, wall clock at its end and seconds of its phases.
"""

import argparse
import json
import resource
import time
from datetime import datetime
from typing import Any

import psutil
from pyspark.sql import DataFrame

from bench.deployment import cpu_s
from conf.settings import PACKAGED, load_settings
from runtime.redis_server import redis_url
from runtime.spark_session import build_session
from streaming import speed_lane
from streaming.contract_stream import ContractStream
from streaming.fenced_writer import FencedWriter, connect
from streaming.sources import kafka
from streaming.speed_job import stream_conf
from streaming.speed_views import BUCKET, watermark_delay_s
from tidemark.contracts import ContractSet
from tidemark.metrics.registry import load_registry


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contract")
    parser.add_argument("lanes", nargs="+", help="lake, exact, sketch")
    parser.add_argument("--without-dedupe", action="store_true")
    parser.add_argument("--without-sink", action="store_true")
    parser.add_argument("--batch-records", type=int)
    parser.add_argument("--conf", nargs="*", default=[], help="Spark settings, name=value")
    asked = parser.parse_args()
    if asked.without_dedupe:
        speed_lane.accept_once = _mark_watermark  # type: ignore[attr-defined]
    if asked.without_sink:
        FencedWriter.write = lambda *_args, **_options: None  # type: ignore[method-assign]
    if asked.batch_records:
        kafka._MAX_BATCH_RECORDS = asked.batch_records
    print(json.dumps(drain(asked.contract, asked.lanes, dict(each.split("=", 1) for each in asked.conf))))


def drain(contract: str, names: list[str], conf: dict[str, str]) -> dict[str, Any]:
    """Run the lanes side by side until the source is read."""
    settings = load_settings()
    extra = {**stream_conf(settings), "spark.sql.streaming.numRecentProgressUpdates": "10000", **conf}
    spark = build_session("tidemark-bench", settings, extra=extra)
    registry = load_registry(settings.definition_folders, PACKAGED)
    stream = ContractStream(lambda: spark, settings, connect(redis_url(settings)), registry, contract)
    lanes = [stream.lanes[name] for name in names]
    jvm = next(child for child in psutil.Process().children(recursive=True) if child.name() == "java")
    began = time.time()
    for lane in lanes:
        lane.start(once=True)
    cpu = []
    while not all(lane.finished() for lane in lanes):
        cpu.append((time.time(), cpu_s(jvm)))
        time.sleep(0.05)
    for lane in lanes:
        if lane.failure:
            raise lane.failure
    mine = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "began": began,
        "ended": time.time(),
        "jvm_cpu_s": cpu,
        "jvm_rss_mb": round(jvm.memory_info().rss / 2**20),
        "python_cpu_s": mine.ru_utime + mine.ru_stime,
        "lanes": {lane.lane: _batches(lane) for lane in lanes},
    }
    spark.stop()
    return found


def _mark_watermark(df: DataFrame, contract: ContractSet) -> DataFrame:
    """The lane's own step without its second half: late events are dropped, repeated ids are not."""
    delay_s = watermark_delay_s(contract.newest)
    return df.withWatermark(BUCKET, f"{delay_s} seconds")


def _batches(lane: Any) -> list[dict[str, Any]]:
    found = []
    for progress in lane._query.recentProgress:
        duration = progress.durationMs
        started = datetime.fromisoformat(progress.timestamp).timestamp()
        found.append(
            {
                "records": progress.numInputRows,
                "ended": started + duration["triggerExecution"] / 1000,
                "phases_s": {name: ms / 1000 for name, ms in duration.items()},
                "state": [
                    {
                        "rows": operator.numRowsTotal,
                        "updated": operator.numRowsUpdated,
                        "update_s": operator.allUpdatesTimeMs / 1000,
                        "removed": operator.numRowsRemoved,
                        "remove_s": operator.allRemovalsTimeMs / 1000,
                        "commit_s": operator.commitTimeMs / 1000,
                        "bytes": operator.memoryUsedBytes,
                    }
                    for operator in progress.stateOperators
                ],
            }
        )
    return found


if __name__ == "__main__":
    main()
