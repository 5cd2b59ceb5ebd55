"""The batch's aggregates in Polars: `program.py FILE…`, Parquet files of silver. Prints {"seconds": …, "groups": …}."""

import json
import sys
import time

import polars as pl

events = pl.scan_parquet(sys.argv[1:], hive_partitioning=False).select("timestamp", "device_id", "access_count")
started = time.monotonic()
frames = [
    events.group_by(pl.col("timestamp").dt.truncate(length).alias("start"), "device_id").agg(
        pl.col("access_count").mean().alias("avg_access"), pl.len().alias("total_users")
    )
    for length in ("10m", "30m")
]
groups = sum(frame.height for frame in pl.collect_all(frames))
print(json.dumps({"seconds": time.monotonic() - started, "groups": groups}))
