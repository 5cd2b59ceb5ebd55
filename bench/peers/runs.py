"""One measured run: of a peer's program, and of Tidemark's exact lane over the same topic."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.deployment import ROOT, Deployment
from bench.peers import measured
from bench.peers.measured import Failed, Usage
from bench.peers.results import TIDEMARK_DEFINITIONS
from bench.speed import WARM_UP
from bench.truth import DeviceWindows, wrong_windows

FLUSH_S = 5.0
"""How often a peer that updates Redis continuously does so in a drain."""
ENDLESS = 2**62
"""Events of a topic that does not end (job.py)."""


@dataclass
class Figures:
    """`rate`: events/s after the first quarter, or of all if a program cannot tell. `start_s`: to the first record."""

    rate: float
    rate_of_all: float
    cpu_us: float
    peak_rss_mb: float
    start_s: float
    wrong: int = -1

    def check(self, truth: DeviceWindows, held: DeviceWindows) -> None:
        """Count the windows that are not as the recompute has them."""
        self.wrong = wrong_windows(truth, held)


def run_peer(
    command: list[str], deployment: Deployment, folder: Path, topic: str, events: int, seconds: float
) -> Figures:
    """Drain a topic by a peer's program. Failed when it fails or does not say what it measured."""
    usage, _ = measured.run(command, peer_environment(deployment, folder, topic, events, FLUSH_S), folder, seconds)
    marks = folder / "marks.json"
    if not marks.exists():
        raise Failed("ended without having measured anything")
    return _figures(usage, events, **json.loads(marks.read_text(encoding="ascii")))


def peer_environment(deployment: Deployment, folder: Path, topic: str, events: int, flush_s: float) -> dict[str, str]:
    """What job.py reads."""
    return {
        "PEER_BOOTSTRAP": deployment.environment["TIDEMARK_KAFKA_BOOTSTRAP"],
        "PEER_TOPIC": topic,
        "PEER_REDIS": deployment.redis_url,
        "PEER_EVENTS": str(events),
        "PEER_FOLDER": str(folder),
        "PEER_FLUSH_S": str(flush_s),
        "PYTHONPATH": str(ROOT),
    }


def run_tidemark(
    deployment: Deployment, folder: Path, prefix: str, events: int, seconds: float, *, deduplicated: bool
) -> Figures:
    """Drain the topic by `bench.lanes`; without deduplication, which no peer does, or with it, as it ships."""
    environment = {
        **deployment.environment,
        "TIDEMARK_KAFKA_TOPIC_PREFIX": prefix,
        "TIDEMARK_DEFINITIONS": str(TIDEMARK_DEFINITIONS),
    }
    smaller = ["--batch-records", str(min(1_000_000, events // 6))]
    options = [*smaller, *([] if deduplicated else ["--without-dedupe"])]
    command = [sys.executable, "-m", "bench.lanes", "access", "exact", *options]
    usage, output = measured.run(command, environment, folder, seconds)
    batches = [batch for batch in json.loads(output.splitlines()[-1])["lanes"]["exact"] if batch["records"]]
    read = np.cumsum([batch["records"] for batch in batches])
    if not len(read) or read[-1] != events:
        raise Failed(f"read {read[-1] if len(read) else 0} of {events} records")
    quarter = int(np.searchsorted(read, WARM_UP * events))
    return _figures(
        usage,
        events,
        first=batches[0]["ended"] - batches[0]["phases_s"]["triggerExecution"],
        at_quarter=batches[quarter]["ended"],
        quarter=int(read[quarter]),
        last=batches[-1]["ended"],
    )


def _figures(
    usage: Usage, events: int, first: float | None, at_quarter: float | None, quarter: int, last: float
) -> Figures:
    if not first:
        raise Failed("cannot tell when it read its first record")
    of_all = events / (last - first)
    return Figures(
        rate=(events - quarter) / (last - at_quarter) if at_quarter else of_all,
        rate_of_all=of_all,
        cpu_us=usage.cpu_between(first, last) / events * 1e6,
        peak_rss_mb=usage.peak_rss_mb,
        start_s=first - usage.started,
    )
