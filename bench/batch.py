"""The batch: seconds from bronze to published, its gates' share, a second sealing after late events, and peers.

Access events of one day, 10,000 devices, `device_access` at 10m and 30m. `tidemark batch` is measured as a whole (its
own clock, without the start of the JVM). Beside it the aggregates alone, over the same silver files, each making the
same columns: Spark, with the product's own plan, as the first thing of a session and warm, DuckDB and Polars; and the
whole job written by hand in DuckDB: read bronze, keep the first of each id, aggregate. Late events come twice: over the
whole day, so that all of it is sealed again, and of the day's last hour, as an outage leaves them.
"""

import argparse
import json
import shutil
import subprocess
import time
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable

from bench.deployment import TIDEMARK, Deployment
from bench.peers.catalogue import POLARS
from bench.peers.installed import install
from bench.report import Report
from conf.settings import PACKAGED
from tidemark.keys import LakeTables
from tidemark.windows import iso

HOUR_S = 3_600
DAY_S = 86_400
LATE_SHARE = 0.01
REFERENCE = 10_000_000
_FIRST = (
    "SELECT * FROM bronze QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY received_at, source_offset) = 1"
)
_GROUPS = """
SELECT length, epoch_us(timestamp) // (length * 1000000) * length AS start, device_id,
       avg(access_count) AS avg_access, count(*) AS total_users
FROM events, (VALUES (600), (1800)) AS windows (length) GROUP BY ALL
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000, 10_000_000], help="events; add 50000000")
    parser.add_argument("--runs", type=int, nargs="+", default=[3], help="of each size; the last for all after it")
    asked = parser.parse_args()
    report = Report("batch", "access events of one day, 10,000 devices, device_access at 10m and 30m")
    try:
        for size, runs in zip_longest(asked.sizes, asked.runs[: len(asked.sizes)], fillvalue=asked.runs[-1]):
            measure(size, runs, report, has_goals=size == REFERENCE or len(asked.sizes) == 1)
    finally:  # a size that is too much for the machine takes nothing from those before it
        for smaller, larger in pairwise(report.rows):
            times = larger["events"] / smaller["events"]
            longer = round(larger["batch_s"] / smaller["batch_s"], 2)
            report.at_most(f"batch of {larger['events']:,}: times that of {smaller['events']:,}", times, longer)
        report.finish()


def measure(size: int, runs: int, report: Report, *, has_goals: bool) -> None:
    """All cases over `size` events, alternating."""
    midnight = int(time.time()) // DAY_S * DAY_S
    with Deployment() as deployment:
        deployment.environment["TIDEMARK_DEFINITIONS"] = str(_definitions(deployment.folder))
        take(deployment, size, midnight - DAY_S, DAY_S, seed=1)
        kept = deployment.folder / "kept"
        deployment.home.rename(kept)
        seen: dict[str, list[float]] = {}
        for _ in range(runs):
            deployment.empty()
            shutil.copytree(kept, deployment.home, dirs_exist_ok=True)
            for name, seconds in one_run(deployment, size, midnight).items():
                seen.setdefault(name, []).append(seconds)
    row: dict[str, Any] = {"events": size, "runs": runs}
    for name, values in seen.items():
        row[name] = report.sample(f"{size:,}: {name}", values, 2)
    report.rows.append(row)
    if has_goals:
        report.at_most(
            "aggregates alone: times DuckDB", 3, round(row["spark_aggregate_s"] / row["duckdb_aggregate_s"], 2)
        )
        report.at_most("gates: share of the batch", 0.25, round(row["gates_s"] / row["batch_s"], 3))
        report.at_most("sealing again after 1 % late: share", 0.15, round(row["reseal_s"] / row["batch_s"], 3))


def one_run(deployment: Deployment, size: int, midnight: int) -> dict[str, float]:
    """Seconds by case; ends the benchmark when a number is wrong."""
    first = batch(deployment, midnight)
    found = {"batch_s": first["seconds"], "gates_s": first["gate_seconds"]}
    tables = LakeTables(str(deployment.home / "lake"))
    aggregate = deployment.module("bench.aggregate", "access", "device_access")
    found["spark_cold_s"], found["spark_aggregate_s"] = aggregate["cold_seconds"], aggregate["seconds"]
    found["spark_rows_s"] = aggregate["rows_seconds"]
    found["duckdb_aggregate_s"], groups = by_duckdb(tables.silver("access"), _GROUPS)
    assert groups == first["metrics"]["device_access"]["rows"], f"{groups} groups, gold has {first['metrics']}"
    found["polars_aggregate_s"], by_other = by_polars(tables.silver("access"))
    found["duckdb_whole_s"], again = by_duckdb(
        tables.bronze_events("access"), _GROUPS.replace("events,", f"({_FIRST}) AS events,")
    )
    assert groups == by_other == again
    found["reseal_s"] = sealed_again(deployment, size, midnight, DAY_S, seed=2)
    found["reseal_hour_s"] = sealed_again(deployment, size, midnight, HOUR_S, seed=3)
    return found


def sealed_again(deployment: Deployment, size: int, midnight: int, last_s: int, *, seed: int) -> float:
    """Seconds of a batch after late events, `LATE_SHARE` of `size`, of the last `last_s` seconds of the day."""
    late = round(size * LATE_SHARE)
    take(deployment, late, midnight - last_s, last_s, seed=seed)
    again = batch(deployment, midnight)
    assert again["contracts"]["access"]["added"] == late
    return float(again["seconds"])


def take(deployment: Deployment, size: int, start: int, seconds: int, *, seed: int) -> None:
    """Traffic of `seconds` from `start` on, `size` events, through the source into bronze; no speed views."""
    file = deployment.folder / "traffic.ndjson"
    given = ["--rate", str(size / seconds), "--seconds", str(seconds), "--seed", str(seed), "--keys", "10000"]
    command = [str(TIDEMARK), "simulate", "access", *given, "--start", iso(start), "--to", str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={"TIDEMARK_HOME": str(file.parent / "made")})
    deployment.run("ingest", "access", str(file))
    deployment.module("bench.lanes", "access", "lake")
    file.unlink()


def batch(deployment: Deployment, midnight: int) -> dict[str, Any]:
    """The document of `tidemark batch --json`."""
    printed = deployment.output([str(TIDEMARK), "batch", "--through", iso(midnight), "--json"], 3600)
    found: dict[str, Any] = json.loads(printed[printed.index("{") :])
    return found


def by_duckdb(table: str, groups: str) -> tuple[float, int]:
    """(seconds, groups) of an aggregation over a Delta table's files, into a table in memory."""
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.execute(f"CREATE VIEW bronze AS SELECT * FROM read_parquet({_files(table)})")
        connection.execute("CREATE VIEW events AS SELECT * FROM bronze")
        started = time.monotonic()
        connection.execute(f"CREATE TABLE gold AS {groups}")
        seconds = time.monotonic() - started
        count = connection.execute("SELECT count(*) FROM gold").fetchone()
    assert count is not None
    return seconds, int(count[0])


def by_polars(table: str) -> tuple[float, int]:
    """The same by Polars, in its own environment; its timer starts after its import."""
    done = subprocess.run([*install(POLARS), *_files(table)], check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    return found["seconds"], found["groups"]


def _files(table: str) -> list[str]:
    return [uri.removeprefix("file://") for uri in DeltaTable(table).file_uris()]


def _definitions(folder: Path) -> Path:
    """The access contract and its one metric: the other packs have no events here."""
    place = folder / "definitions"
    (place / "metrics").mkdir(parents=True)
    shutil.copy(PACKAGED / "metrics" / "device_access.yaml", place / "metrics")
    return place


if __name__ == "__main__":
    main()
