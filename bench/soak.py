"""A long run with kills: `make soak`, or `python -m bench.soak [--minutes 30] [--rate 2000] [--kill-every 60]`.

Live records at `rate`; once in each `kill-every` seconds, at a moment drawn from the seed, the stream is killed with -9
and started again. Before each kill the memory of driver and Redis and the size of the state are sampled. At the end
the rest is drained and every answer is compared with the producer's ledger. Out of CI; exit 1 when a goal is missed.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import redis

from bench.deployment import TIDEMARK, Deployment
from bench.exactness import check
from bench.report import Report

MIB = 2**20
FILLED_S = 25 * 60
"""An id stays in the state for `late_after`, a window for its length more: before that, state can only grow."""
FLAT = 1.2
STREAM = ("stream", "--source-contract", "access")


class Soak:
    """One run. The driver and its JVM share a process group that only this run started."""

    def __init__(self, deployment: Deployment, given: argparse.Namespace) -> None:
        self.deployment, self.given = deployment, given
        self.ledger = deployment.folder / "ledger.ndjson"
        self.samples: list[dict[str, float]] = []
        self._chance = random.Random(given.seed)
        self._began = time.monotonic()

    def run(self) -> int:
        """Produce, sample, kill; how many kills."""
        given = self.given
        traffic = ["--rate", str(given.rate), "--seconds", str(given.minutes * 60), "--seed", str(given.seed)]
        faults = ["--keys", "2000", "--duplicates", "0.01", "--invalid", "0.01", "--ledger", str(self.ledger)]
        producer, stream = self._start("simulate", "access", *traffic, *faults), self._start(*STREAM)
        self._began, kills = time.monotonic(), 0
        try:
            while self._wait(producer, kills):
                self._sample(stream)
                _kill(stream)
                kills += 1
                stream = self._start(*STREAM)
            if producer.wait():
                sys.exit(f"simulate ended with {producer.returncode}: {self._log.read_text()[-3000:]}")
        finally:
            _kill(producer)
            _kill(stream)
        return kills

    @property
    def _log(self) -> Path:
        return self.deployment.folder / "soak.log"

    def _start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            environment = {**os.environ, **self.deployment.environment}
            return subprocess.Popen(
                [TIDEMARK, *arguments], env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def _wait(self, producer: "subprocess.Popen[bytes]", kills: int) -> bool:
        """Until the next kill, in the second half of its interval; False when the input ended before."""
        until = self._began + self.given.kill_every * (kills + self._chance.uniform(0.5, 1))
        while time.monotonic() < until and producer.poll() is None:
            time.sleep(0.2)
        return producer.poll() is None

    def _sample(self, stream: "subprocess.Popen[bytes]") -> None:
        checkpoints = self.deployment.home / "checkpoints"
        with redis.Redis.from_url(self.deployment.redis_url) as client:
            redis_bytes = client.info("memory")["used_memory"]
        sample = {
            "at_s": round(time.monotonic() - self._began),
            "driver_mib": round(_group_rss(stream.pid) / MIB),
            "redis_mib": round(redis_bytes / MIB, 1),
            "state_mib": round(_size(checkpoints / "access" / "exact" / "state") / MIB, 1),
            "checkpoints_mib": round(_size(checkpoints) / MIB, 1),
        }
        self.samples.append(sample)
        print("  ".join(f"{name} {value}" for name, value in sample.items()), flush=True)


def measure(deployment: Deployment, given: argparse.Namespace) -> Report:
    load = f"{given.minutes:g} minutes at {given.rate:g} events/s, a kill -9 every {given.kill_every:g} s"
    report = Report("soak", load, given.seed)
    soak = Soak(deployment, given)
    kills = soak.run()
    drained_s = deployment.run("stream", "--once", "--source-contract", "access")
    found = check(deployment, soak.ledger)
    report.rows = [dict(sample) for sample in soak.samples]
    report.at_least("kills", int(given.minutes * 60 / given.kill_every) - 1, kills)
    found.judge(report)
    for name in ("driver_mib", "redis_mib", "state_mib"):
        report.at_most(f"{name}: later half / earlier half, once filled", FLAT, _growth(soak.samples, name))
    report.notes = [
        f"{found.points:,} points compared, {found.counts}",
        f"drained {drained_s:.1f} s after the last kill",
    ]
    return report


def _growth(samples: list[dict[str, float]], name: str) -> float | None:
    """None when the run was too short to tell."""
    settled = [sample[name] for sample in samples if sample["at_s"] >= FILLED_S]
    half = len(settled) // 2
    return round(max(settled[half:]) / max(settled[:half]), 2) if half else None


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _group_rss(group: int) -> int:
    """Resident bytes of all processes of a group."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,rss="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return sum(int(rss) * 1024 for pgid, rss in rows if int(pgid) == group)


def _size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # the stream tidies up while we count
            total += file.stat().st_size
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--kill-every", type=float, default=60, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with Deployment() as deployment:
        report = measure(deployment, given)
    report.finish()
    sys.exit(any(goal.met is False for goal in report.goals))


if __name__ == "__main__":
    main()
