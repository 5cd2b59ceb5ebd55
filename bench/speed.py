"""Throughput of the speed layer: a Kafka backlog → valid → deduplicated → speed views in Redis.

Access events with `device_access` at 10m and 30m, drained alone, without deduplication, beside the lake writer, and the
whole clickstream pack. The rate is that of the records after the first quarter, until the last full batch is committed.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from bench.deployment import Deployment
from bench.report import Report
from bench.traffic import produce, traffic
from bench.truth import device_differences

WARM_UP = 0.25
FULL = 5_000_000
CASES: dict[str, tuple[str, list[str]]] = {
    "access, deduplicated": ("access", ["exact"]),
    "access, no deduplication": ("access", ["exact", "--without-dedupe"]),
    "access, deduplicated, lake writer beside": ("access", ["exact", "lake"]),
    "clickstream, whole pack": ("clickstream", ["exact", "sketch"]),
}
GOALS = {
    "access, deduplicated": 60_000,
    "access, no deduplication": 100_000,
    "clickstream, whole pack": 35_000,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_200_000, help="of access; clickstream takes a quarter")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="cases whose name contains this")
    asked = parser.parse_args()
    cases = {name: case for name, case in CASES.items() if not asked.only or asked.only in name}
    sizes = {"access": asked.events, "clickstream": asked.events // 4}
    files = {pack: traffic(pack, sizes[pack]) for pack in {pack for pack, _ in cases.values()}}
    report = Report("speed", f"{asked.events:,} access events of 10,000 devices at 2,000/s of event time, from Kafka")
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in cases}
    with Deployment(kafka=True) as deployment:
        assert deployment.broker is not None
        for pack, file in files.items():
            produce(file, deployment.broker.bootstrap, f"tidemark.{pack}")
        for _ in range(asked.runs):
            for name, (pack, arguments) in cases.items():
                deployment.empty()
                smaller = ["--batch-records", str(asked.events // 8)] if asked.events < FULL else []
                document = deployment.module("bench.lanes", pack, *arguments, *smaller)
                runs[name].append(sustained(document, arguments[0]))
                runs[name][-1]["wrong"] = _wrong(pack, files[pack], deployment)
    for name, found in runs.items():
        rate = report.sample(f"{name}, events/s", [run["rate"] for run in found])
        report.rows.append(
            {
                "case": name,
                "events_per_s": rate,
                "low": min(round(run["rate"]) for run in found),
                "high": max(round(run["rate"]) for run in found),
                "cpu_us_per_event": report.sample(f"{name}, CPU µs/event", [run["cpu_us"] for run in found], 1),
                "driver_mb": report.sample(f"{name}, driver MB", [run["rss_mb"] for run in found]),
                "wrong_partials": sum(run["wrong"] or 0 for run in found) if found[0]["wrong"] is not None else None,
            }
        )
        if name in GOALS:
            report.at_least(f"{name}: events/s", GOALS[name], rate)
    report.finish()


def sustained(document: dict[str, Any], lane: str) -> dict[str, Any]:
    """events/s and CPU µs/event of a lane after its warm-up."""
    batches = [batch for batch in document["lanes"][lane] if batch["records"] > 1000]
    total = sum(batch["records"] for batch in batches)
    read = np.cumsum([batch["records"] for batch in batches])
    first = int(np.searchsorted(read, WARM_UP * total))
    began, ended = batches[first]["ended"], batches[-1]["ended"]
    events = int(read[-1] - read[first])
    at, cpu = zip(*document["jvm_cpu_s"], strict=True)
    used = float(np.interp(ended, at, cpu) - np.interp(began, at, cpu))
    return {"rate": events / (ended - began), "cpu_us": used / events * 1e6, "rss_mb": document["jvm_rss_mb"]}


def _wrong(pack: str, file: Path, deployment: Deployment) -> int | None:
    if pack != "access":
        return None
    compared, wrong = device_differences(file, deployment.redis_url)
    assert compared
    return wrong


if __name__ == "__main__":
    main()
