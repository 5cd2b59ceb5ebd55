"""Flink SQL from Python, parallelism 2, checkpoints every FLUSH_S: `program.py file | redis | updates`.

`file`: windows once, when they close, into JSON files. `redis`: the same, collected into Redis. `updates`: a grouped
aggregation with mini-batches, whose changes are collected into Redis; what is collected arrives with a checkpoint.
"""

import json
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path

import redis
from pyflink.table import EnvironmentSettings, TableEnvironment

from bench.peers.job import BOOTSTRAP, ENDLESS, EVENTS, FLUSH_S, FOLDER, REDIS, TOPIC, WINDOW_S, packed, write_marks

BOUND = "unbounded" if EVENTS >= ENDLESS else "latest-offset"
SOURCE = f"""
CREATE TABLE events (
  `timestamp` TIMESTAMP_LTZ(3), device_id STRING, access_count BIGINT,
  WATERMARK FOR `timestamp` AS `timestamp` - INTERVAL '10' MINUTE
) WITH (
  'connector' = 'kafka', 'topic' = '{TOPIC}', 'properties.bootstrap.servers' = '{BOOTSTRAP}',
  'properties.group.id' = 'pyflink-{FOLDER.name}', 'scan.startup.mode' = 'earliest-offset',
  'scan.bounded.mode' = '{BOUND}', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601'
)"""
COLUMNS = "COUNT(*) AS n, SUM(access_count) AS total, MIN(access_count) AS `least`, MAX(access_count) AS `most`, " + (
    "SUM(access_count) / CAST(COUNT(*) AS DOUBLE) AS average"
)
EPOCH_S = "TIMESTAMPDIFF(SECOND, TIMESTAMP '1970-01-01 00:00:00', {})"
WINDOWS = f"""
SELECT {EPOCH_S.format("window_start")} AS `start`, device_id, {COLUMNS}
FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(`timestamp`), INTERVAL '10' MINUTES))
GROUP BY window_start, window_end, device_id"""
UPDATES = f"""
SELECT `start`, device_id, {COLUMNS} FROM (
  SELECT {EPOCH_S.format("CAST(`timestamp` AS TIMESTAMP(3))")} / {WINDOW_S} * {WINDOW_S} AS `start`,
    device_id, access_count
  FROM events
) GROUP BY `start`, device_id"""
FILES = f"""
CREATE TABLE files (
  `start` BIGINT, device_id STRING, n BIGINT, total BIGINT, `least` BIGINT, `most` BIGINT, average DOUBLE
) WITH ('connector' = 'filesystem', 'path' = '{(FOLDER / "files").as_uri()}', 'format' = 'json')"""


class Watch(threading.Thread):
    """Reads from the cluster's own REST interface when the source has read its first record and its first quarter.

    A job so short that no count of it was seen begins when its source runs, and has no quarter.
    """

    def __init__(self, port):
        super().__init__(daemon=True)
        self._url = f"http://127.0.0.1:{port}/jobs"
        self.first = self.at_quarter = self.running = None
        self.quarter = EVENTS // 4

    def run(self):
        while self.at_quarter is None:
            try:
                read = self._read()
            except (OSError, LookupError, ValueError):
                read = 0
            if read and not self.first:
                self.first = time.time()
            if read >= EVENTS // 4:
                self.quarter, self.at_quarter = read, time.time()
            time.sleep(0.05)

    def _read(self):
        job = self._get("")["jobs"][0]["id"]
        source = self._get(f"/{job}")["vertices"][0]
        if source["status"] == "RUNNING" and not self.running:
            self.running = time.time()
        metrics = f"/{job}/vertices/{source['id']}/subtasks/metrics"
        names = [each["id"] for each in self._get(metrics)]
        counts = [name for name in names if "events" in name and name.endswith((".numRecordsIn", ".numRecordsOut"))]
        return int(self._get(f"{metrics}?get={min(counts)}&agg=sum")[0]["sum"])

    def _get(self, path):
        with urllib.request.urlopen(self._url + path, timeout=2) as reply:
            return json.load(reply)


def environment(port):
    settings = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    config = settings.get_config()
    jars = ";".join(jar.as_uri() for jar in sorted(Path(sys.argv[2]).glob("*.jar")))
    for name, value in {
        "pipeline.jars": jars,
        "parallelism.default": "2",
        "pipeline.object-reuse": "true",
        "execution.checkpointing.interval": f"{int(FLUSH_S * 1000)} ms",
        "execution.checkpointing.dir": (FOLDER / "checkpoints").as_uri(),
        "rest.port": str(port),
        "metrics.fetcher.update-interval": "100",
        "table.local-time-zone": "UTC",
    }.items():
        config.set(name, value)
    return settings


def collect(result):
    """Rows into Redis, at most FLUSH_S old. Of an update, the row after it."""
    client, fields, flushed = redis.Redis.from_url(REDIS), {}, time.monotonic()
    with result.collect() as rows:
        for row in rows:
            if row.get_row_kind().name in ("INSERT", "UPDATE_AFTER"):
                start, device, *held, _average = row
                fields.setdefault(start, {})[device] = packed(*held)
            if time.monotonic() - flushed >= FLUSH_S:
                write(client, fields)
                flushed = time.monotonic()
    write(client, fields)


def write(client, fields):
    with client.pipeline(transaction=False) as pipe:
        for start, values in fields.items():
            pipe.hset(f"peer:{start}", mapping=values)
        pipe.execute()
    fields.clear()


def main():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tables = environment(port)
    tables.execute_sql(SOURCE)
    watch = Watch(port)
    watch.start()
    if sys.argv[1] == "file":
        tables.execute_sql(FILES)
        tables.execute_sql(f"INSERT INTO files {WINDOWS}").wait()
    elif sys.argv[1] == "redis":
        collect(tables.execute_sql(WINDOWS))
    else:
        for name, value in {
            "table.exec.mini-batch.enabled": "true",
            "table.exec.mini-batch.allow-latency": f"{int(FLUSH_S * 1000)} ms",
            "table.exec.mini-batch.size": "50000",
            "table.optimizer.agg-phase-strategy": "TWO_PHASE",
        }.items():
            tables.get_config().set(name, value)
        collect(tables.execute_sql(UPDATES))
    write_marks(watch.first or watch.running, watch.at_quarter, watch.quarter, time.time())


if __name__ == "__main__":
    main()
