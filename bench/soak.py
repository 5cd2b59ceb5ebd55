"""A long run with kills: `make soak`, or `python -m bench.soak [--minutes 30] [--rate 2000] [--kill-every 60]
[--late-after 2]`.

Live records at `rate`; once in each `kill-every` seconds, at a moment drawn from the seed, the stream is killed with -9
and started again. Before each kill the memory of driver and Redis and the size of the state are sampled. At the end
the rest is drained and every answer is compared with the producer's ledger. Out of CI; exit 1 when a goal is missed.

An id stays in the state for twice `late_after`, and until then state can only grow. So the shipped contract is given a
shorter one: else half an hour would end soon after the state is full, and say nothing about what it does then.
"""

import argparse
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import redis

from bench.deployment import ROOT, TIDEMARK, Deployment
from bench.exactness import check
from bench.held import bytes_below, held_partials
from bench.report import Report

MIB = 2**20
BUCKET_S = 60
"""Grain of lateness of a contract whose `late_after` is whole minutes."""
SLACK_S = 120
"""The first start of the stream, and a kill."""
FLAT = 1.2
"""What grows in a straight line from nothing is at 1.4 or more, whatever the length of the run: see `growth`."""
LEAST_SAMPLES = 6
COMMITTING = 0.8
"""On a machine too slow for `kill_every`, every kill would meet a stream that still starts, and prove little."""
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
            redis_bytes, partials = client.info("memory")["used_memory"], held_partials(client)
        sample = {
            "at_s": round(time.monotonic() - self._began),
            "committed": newest_commit(checkpoints / "access" / "exact" / "commits"),
            "driver_mib": round(_group_rss(stream.pid) / MIB),
            "redis_mib": round(redis_bytes / MIB, 1),
            "redis_bytes_per_partial": round(redis_bytes / max(partials, 1)),
            "state_mib": round(bytes_below(checkpoints / "access" / "exact" / "state") / MIB, 1),
            "checkpoints_mib": round(bytes_below(checkpoints) / MIB, 1),
        }
        self.samples.append(sample)
        print("  ".join(f"{name} {value}" for name, value in sample.items()), flush=True)


def measure(deployment: Deployment, given: argparse.Namespace) -> Report:
    load = f"{given.minutes:g} minutes at {given.rate:g} events/s, a kill -9 every {given.kill_every:g} s"
    load += f", late_after {given.late_after} min"
    report = Report("soak", load, given.seed)
    define(deployment.folder / "definitions", given.late_after)
    deployment.environment["TIDEMARK_DEFINITIONS"] = str(deployment.folder / "definitions")
    soak, filled = Soak(deployment, given), filled_s(given.late_after * 60)
    kills = soak.run()
    drained_s = deployment.run("stream", "--once", "--source-contract", "access")
    found = check(deployment, soak.ledger)
    report.rows = [dict(sample) for sample in soak.samples]
    report.at_least("kills", int(given.minutes * 60 / given.kill_every) - 1, kills)
    report.at_least("share of lives that committed a batch", COMMITTING, committing(soak.samples))
    found.judge(report)
    # Redis holds a day of windows, so within half an hour it grows with them; a leak would be beside them.
    for name in ("driver_mib", "redis_bytes_per_partial", "state_mib"):
        report.at_most(f"{name}: later half / earlier half, once filled", FLAT, growth(soak.samples, name, filled))
    report.notes = [
        f"{found.points:,} points compared, {found.counts}",
        f"drained {drained_s:.1f} s after the last kill",
        f"memory and state are judged from {filled} s on",
    ]
    return report


def filled_s(late_after_s: int) -> int:
    """Seconds until ids leave the state as fast as they come: the watermark is `late_after` and a bucket behind, and an
    id stays for as long again."""
    return 2 * (late_after_s + BUCKET_S) + SLACK_S


def growth(samples: list[dict[str, float]], name: str, filled: int) -> float | None:
    """Median of the later half by that of the earlier half, of the samples since `filled` seconds. None when the run
    was too short to tell: fewer than six samples, or not as long again as it took to fill."""
    settled = [sample[name] for sample in samples if sample["at_s"] >= filled]
    if len(settled) < LEAST_SAMPLES or samples[-1]["at_s"] < 2 * filled - SLACK_S:
        return None
    half = len(settled) // 2
    return round(statistics.median(settled[-half:]) / statistics.median(settled[:half]), 2)


def committing(samples: list[dict[str, float]]) -> float | None:
    """Share of the streams killed that had committed a micro-batch of their own. None without a kill."""
    numbers = [-1.0, *(sample["committed"] for sample in samples)]
    lives = [after > before for before, after in pairwise(numbers)]
    return round(sum(lives) / len(lives), 2) if lives else None


def newest_commit(folder: Path) -> int:
    """Number of the newest micro-batch committed, -1 without any."""
    return max((int(file.name) for file in folder.glob("[0-9]*") if file.name.isdecimal()), default=-1)


def define(folder: Path, late_after_minutes: int) -> None:
    """The definitions that ship, with another `late_after` of access."""
    for kind in ("contracts", "metrics"):
        shutil.copytree(ROOT / "conf" / kind, folder / kind)
    contract = folder / "contracts" / "access.yaml"
    text, changed = re.subn(r"(?m)^late_after:.*$", f"late_after: {late_after_minutes} minutes", contract.read_text())
    if changed != 1:
        raise ValueError(f"{contract} has no late_after")
    contract.write_text(text)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _group_rss(group: int) -> int:
    """Resident bytes of all processes of a group."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,rss="], capture_output=True, text=True, check=True).stdout
    rows = (line.split() for line in listed.splitlines())
    return sum(int(rss) * 1024 for pgid, rss in rows if int(pgid) == group)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--kill-every", type=float, default=60, help="seconds")
    parser.add_argument("--late-after", type=int, default=2, help="minutes")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with Deployment() as deployment:
        report = measure(deployment, given)
    report.finish()
    sys.exit(any(goal.met is False for goal in report.goals))


if __name__ == "__main__":
    main()
