"""One metric's aggregates alone, by the batch's own plan: `python -m bench.aggregate access device_access`.

Silver → groups → finished values, written into nothing. Prints `cold_seconds` and `seconds`: the first pass of the
session, and one when Java's compiler is done with it, of window, start, dimensions and values as the peers make them;
then `rows_seconds`, all columns of gold but the partial, and `packed_seconds`, with it.
"""

import json
import sys
import time

from pyspark.sql import DataFrame

from conf.settings import PACKAGED, load_settings
from spark_jobs.build_gold import pack_rows, shape_rows
from spark_jobs.event_columns import with_event_columns
from spark_jobs.script import spark_source
from spark_jobs.window_groups import group_events
from tidemark.keys import LakeTables
from tidemark.metrics.registry import load_registry

WARM_UP = 8
"""Passes before the one that counts: the times of a session fall for so long."""


def main(contract: str, name: str) -> None:
    settings = load_settings()
    registry = load_registry(settings.definition_folders, PACKAGED)
    contracts, metric = registry.contracts[contract], registry.metrics[name]
    spark = spark_source("bench", settings)()
    silver = spark.read.format("delta").load(LakeTables(settings.lake_uri).silver(contract))
    groups = group_events(with_event_columns(silver, contracts), metric, contracts)
    shaped = shape_rows(groups, metric, 1)
    names = [*(dim.name for dim in metric.dims), *(output.name for output in metric.outputs)]
    values = shaped.select("window", "window_start", *(f"`{name}`" for name in names))
    rows = shaped.drop(*(column for column in shaped.columns if column.startswith("state_")))
    cold, *_, seconds = [_seconds(values) for _ in range(WARM_UP + 1)]
    found = {"cold_seconds": cold, "seconds": seconds}
    for name, frame in (("rows_seconds", rows), ("packed_seconds", pack_rows(shaped, metric))):
        found[name] = [_seconds(frame) for _ in range(3)][-1]
    spark.stop()
    print(json.dumps(found))


def _seconds(frame: DataFrame) -> float:
    started = time.monotonic()
    frame.write.format("noop").mode("overwrite").save()
    return time.monotonic() - started


if __name__ == "__main__":
    main(*sys.argv[1:3])
