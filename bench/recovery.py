"""How fast a backlog is drained: `python -m bench.recovery [--minutes 10] [--rate 2000] [--seed 1]`.

The files source. A stream has run before, so tables and checkpoints exist; then it was away while records came in for
`minutes` at `rate`. Measured is the whole command `stream --once`, from its start to its end: the JVM, the lake and the
speed views. Afterwards every answer is compared with the producer's ledger.
"""

import argparse
from pathlib import Path

from bench.deployment import Deployment
from bench.exactness import check
from bench.report import Report

START = "2026-03-01T00:00:00Z"
BACKLOG = "2026-03-01T00:01:00Z"
GOAL_S = 180


def produce(deployment: Deployment, ledger: Path, start: str, rate: float, seconds: float, seed: int) -> float:
    """Seconds that it took to append the records to the source."""
    given = ["--rate", str(rate), "--seconds", str(seconds), "--seed", str(seed), "--start", start, "--keys", "2000"]
    return deployment.run(
        "simulate", "access", *given, "--duplicates", "0.01", "--invalid", "0.01", "--ledger", str(ledger)
    )


def measure(deployment: Deployment, rate: float, minutes: float, seed: int) -> Report:
    records = round(rate * minutes * 60)
    report = Report("recovery", f"{records:,} access events of {minutes:g} minutes wait in the files source", seed)
    before, backlog, both = (deployment.folder / name for name in ("before", "backlog", "both"))
    produce(deployment, before, START, rate, 60, seed)
    deployment.run("stream", "--once", "--source-contract", "access")
    appended_s = produce(deployment, backlog, BACKLOG, rate, 60 * minutes, seed + 1)
    drained_s = deployment.run("stream", "--once", "--source-contract", "access")
    both.write_bytes(before.read_bytes() + backlog.read_bytes())
    found = check(deployment, both)
    report.rows.append(
        {
            "records": records,
            "append_s": round(appended_s, 1),
            "drain_s": round(drained_s, 1),
            "drained_per_s": round(records / drained_s),
            "points_compared": found.points,
        }
    )
    report.at_most("seconds to drain the backlog", GOAL_S, round(drained_s, 1))
    found.judge(report)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with Deployment() as deployment:
        measure(deployment, given.rate, given.minutes, given.seed).finish()


if __name__ == "__main__":
    main()
