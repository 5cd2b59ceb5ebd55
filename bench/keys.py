"""How the speed layer grows with its keys: the same events over 1,000, 100,000 and 1,000,000 devices.

Per number of devices: events/s and CPU of a drain from Kafka, bytes of Redis for each partial of `device_access`, bytes
of the state on disk and of the process. Answers by number of devices: `make bench-answers`.
"""

import argparse
from typing import Any

import redis

from bench.deployment import Deployment
from bench.held import bytes_below, held_partials
from bench.report import Report
from bench.speed import sustained
from bench.traffic import produce, traffic

DEVICES = (1_000, 100_000, 1_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--devices", type=int, nargs="+", default=list(DEVICES))
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    report = Report("keys", f"{asked.events:,} access events at 2,000/s of event time, device_access at 10m and 30m")
    runs: dict[int, list[dict[str, Any]]] = {devices: [] for devices in asked.devices}
    for _ in range(asked.runs):
        for devices in asked.devices:
            runs[devices].append(measure(asked.events, devices))
    for devices, found in runs.items():
        row: dict[str, Any] = {"devices": devices}
        for name in found[0]:
            row[name] = report.sample(f"{devices:,} devices, {name}", [run[name] for run in found], 1)
        report.rows.append(row)
    report.finish()


def measure(events: int, devices: int) -> dict[str, Any]:
    """One drain on an empty deployment."""
    file = traffic("access", events, keys=devices)
    with Deployment(kafka=True) as deployment, redis.Redis.from_url(deployment.redis_url) as client:
        assert deployment.broker is not None
        produce(file, deployment.broker.bootstrap, "tidemark.access")
        before = client.info("memory")["used_memory"]
        found = sustained(
            deployment.module("bench.lanes", "access", "exact", "--batch-records", str(events // 8)), "exact"
        )
        used = client.info("memory")["used_memory"] - before
        partials = held_partials(client)
        state = bytes_below(deployment.home / "checkpoints")
    return {
        "events_per_s": found["rate"],
        "cpu_us_per_event": found["cpu_us"],
        "partials": partials,
        "redis_bytes_per_partial": used / max(partials, 1),
        "checkpoint_mb": state / 2**20,
        "driver_mb": found["rss_mb"],
    }


if __name__ == "__main__":
    main()
