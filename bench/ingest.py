"""Posts of ten events each at a fixed rate: how late is `POST /v1/events`, which answers when they are durable.

Afterwards every event that was acknowledged is looked for in the source. Beside it: what the disk takes for one fsync.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import orjson

from bench.api import Api
from bench.deployment import Deployment
from bench.load import at_rate, post
from bench.report import Report
from conf.settings import Settings
from intake.segments import FileSource

RATE = 1_000
EVENTS = 10
PATH = "/v1/events/access"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    report = Report("ingest", f"{RATE:,} posts/s of {EVENTS} access events each, to the files source")
    found: dict[str, list[dict[str, float]]] = {}
    with Deployment() as deployment:
        for _ in range(asked.runs):
            for workers in (1, 2):
                label = f"{workers} worker{'s' if workers > 1 else ''}"
                found.setdefault(label, []).append(measure(deployment, workers, asked.seconds))
        fsync_ms = report.sample("one fsync, p95 ms", [_fsync_p95_ms(deployment.folder) for _ in range(asked.runs)], 2)
    for label, runs in found.items():
        row = {name: report.sample(f"{label}: {name}", [run[name] for run in runs], 1) for name in runs[0]}
        report.rows.append({"case": label} | row)
        report.at_most(f"{label}: p95 ms from due to durable and answered", 50, row["p95_ms"])
    report.notes.append(f"One fsync of 64 KiB on the same disk, nothing else running: p95 {fsync_ms} ms.")
    report.finish()


def measure(deployment: Deployment, workers: int, seconds: float) -> dict[str, float]:
    """Figures of one run, on an empty source; ends the benchmark when an acknowledged event is not there."""
    deployment.empty()
    total = int(RATE * seconds)
    with Api(deployment, workers) as api:
        at_rate(api.port, _posts(0, RATE), rate=RATE / 4, seconds=4, in_order=True).expect(202)  # warms both workers
        cpu = api.cpu_s()
        run = at_rate(api.port, _posts(RATE, total), rate=RATE, seconds=seconds, in_order=True).expect(202)
        used = api.cpu_s() - cpu
    source = FileSource(Settings(env="local", home=deployment.home).home / "source" / "access")
    stored = [orjson.loads(record.value)["event_id"] for record in source.iter_records()]
    expected = {f"b-{number}" for number in range((RATE + total) * EVENTS)}
    if len(stored) != len(expected) or set(stored) != expected:
        raise RuntimeError(
            f"{len(expected):,} events acknowledged, {len(set(stored)):,} of {len(stored):,} in the source"
        )
    return {
        "posts_per_s": run.per_s,
        "p50_ms": run.percentile(50),
        "p95_ms": run.percentile(95),
        "p99_ms": run.percentile(99),
        "server_cpu_us_per_post": used / total * 1e6,
        "segments": len(source.segment_names()),
    }


def _posts(first: int, count: int) -> list[bytes]:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return [
        post(PATH, orjson.dumps([_event(number * EVENTS + k, stamp) for k in range(EVENTS)]))
        for number in range(first, first + count)
    ]


def _event(number: int, stamp: str) -> dict[str, object]:
    return {
        "event_id": f"b-{number}",
        "timestamp": stamp,
        "device_id": f"dev-{number % 10_000}",
        "user_id": f"user-{number % 100_003}",
        "access_count": number % 50,
    }


def _fsync_p95_ms(folder: Path) -> float:
    taken = []
    with (folder / "fsync").open("wb") as file:
        for _ in range(200):
            file.write(bytes(65_536))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - began) * 1000)
    return statistics.quantiles(taken, n=100)[94]


if __name__ == "__main__":
    main()
