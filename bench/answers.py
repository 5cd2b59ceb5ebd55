"""How an answer fares as devices grow: one hour of 1,000, 100,000 and 1,000,000 devices, random ones at a fixed rate.

Of many devices hardly one is asked twice, so nothing is kept of it: its answer reads six windows from Redis, three
sealed and three of speed. Beside it: the bytes that Redis takes for a partial.
"""

import argparse

import redis

from bench.api import Api
from bench.day import Beating, Day
from bench.deployment import Deployment
from bench.load import at_rate, get, once_each
from bench.report import Report
from bench.serve import Questions, check
from conf.settings import Settings
from tidemark.keys import LakeTables

RATE = 500
WINDOWS = 6
CONNECTIONS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, nargs="+", default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    report = Report("answers", f"an hour of one device, random ones, {RATE}/s; 1 worker")
    p95: dict[int, float] = {}
    for devices in asked.devices:
        with Deployment() as deployment:
            row = measure(deployment, devices, asked.seconds, asked.runs, report)
        p95[devices] = row["p95_ms"]
        report.rows.append({"devices": devices} | row)
    fewest, most = min(p95), max(p95)
    report.at_most(
        f"p95 with {most:,} devices as a multiple of that with {fewest:,}", 1.5, round(p95[most] / p95[fewest], 2)
    )
    report.finish()


def measure(deployment: Deployment, devices: int, seconds: float, runs: int, report: Report) -> dict[str, float]:
    """Figures of one number of devices; each run's server starts with nothing kept."""
    tables = LakeTables(Settings(env="local", home=deployment.home).lake_uri)
    with redis.Redis.from_url(deployment.redis_url) as client:
        before = client.info("memory")["used_memory"]
        day = Day(devices, deployment.redis_url, tables, windows=WINDOWS)
        day.write()
        used = client.info("memory")["used_memory"] - before
    questions = Questions(day, devices)
    found: list[dict[str, float]] = []
    with Beating(day):
        for _ in range(runs):
            with Api(deployment, 1) as api:
                check(api, questions, rankings=False)
                once_each(api.port, [get(questions.whole_day(k)) for k in range(200)], connections=CONNECTIONS)
                asked = [get(questions.whole_day(k * 7_919 % devices)) for k in range(int(RATE * seconds))]
                cpu = api.cpu_s()
                run = at_rate(api.port, asked, rate=RATE, seconds=seconds, in_order=True).expect(200)
                found.append(
                    {"p50_ms": run.percentile(50), "p95_ms": run.percentile(95), "p99_ms": run.percentile(99)}
                    | {"server_cpu_us": (api.cpu_s() - cpu) / len(asked) * 1e6}
                )
    figures = {name: report.sample(f"{devices:,}: {name}", [run[name] for run in found], 2) for name in found[0]}
    return figures | {"redis_bytes_per_partial": round(used / (devices * WINDOWS))}


if __name__ == "__main__":
    main()
