"""How long commands take until they are of use: `query` to its answer, `serve` and `stream` to ready.

From the start of the process by a shell's clock, on a home that exists; the first run of each fills the page cache and
is not counted. `stream` is ready when both queries have written their first progress.
"""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime

import redis

from bench.api import Api
from bench.day import Day
from bench.deployment import Deployment
from bench.report import Report
from conf.settings import Settings
from tidemark import keys
from tidemark.windows import iso

STREAM_S = 180.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of `stream`: half as many")
    parser.add_argument("--only", default="", help="commands whose name begins so")
    asked = parser.parse_args()
    report = Report("start", "seconds from the start of the process, after one start that is not counted")
    with Deployment() as deployment:
        settings = Settings(env="local", home=deployment.home)
        day = Day(100, deployment.redis_url, keys.LakeTables(settings.lake_uri))
        day.write()
        commands: list[tuple[str, Callable[[], float], int, float]] = [
            ("query answers", lambda: query(deployment, day), asked.runs, 1.5),
            ("serve is ready", lambda: serve(deployment), asked.runs, 1.5),
            ("stream is ready", lambda: stream(deployment), max(1, asked.runs // 2), 20),
        ]
        for name, start, runs, goal in commands:
            if not name.startswith(asked.only):
                continue
            start()
            seconds = report.sample(f"{name}, s", [start() for _ in range(runs)], 2)
            found = report.samples[f"{name}, s"]
            report.rows.append({"command": name, "seconds": seconds, "low": found["low"], "high": found["high"]})
            report.at_most(f"{name}: s", goal, seconds)
    report.finish()


def query(deployment: Deployment, day: Day) -> float:
    asked = ["--window", "10m", "--from", iso(day.start), "--to", iso(day.end), "--dim", f"device_id={day.names[0]}"]
    return deployment.run("query", "device_access", *asked, seconds=60)


def serve(deployment: Deployment) -> float:
    began = time.monotonic()
    with Api(deployment, 1):
        return time.monotonic() - began


def stream(deployment: Deployment) -> float:
    """With two records waiting; until the speed views and the lake writer tell of progress."""
    stamp = datetime.now(UTC).isoformat()
    records = deployment.folder / "two.ndjson"
    event = '{{"event_id": "{}", "timestamp": "{}", "device_id": "d", "user_id": "u", "access_count": 1}}\n'
    records.write_text(event.format(time.time_ns(), stamp) + event.format(time.time_ns(), stamp))
    deployment.run("ingest", "access", str(records), seconds=60)
    names = [keys.progress("access", lane) for lane in ("exact", keys.LAKE_LANE)]
    with redis.Redis.from_url(deployment.redis_url) as client:
        client.delete(*names)
        began = time.monotonic()
        process = deployment.start("stream", "--source-contract", "access")
        while client.exists(*names) < len(names):
            if process.poll() is not None or time.monotonic() - began > STREAM_S:
                raise RuntimeError("the stream did not get ready")
            time.sleep(0.02)
        took = time.monotonic() - began
        process.terminate()
        process.wait(60)
    return took


if __name__ == "__main__":
    main()
