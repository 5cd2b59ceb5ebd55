"""Peers beside Tidemark: the same 10-minute count, sum, min, max and average per device, from one topic into one Redis.

`python -m bench.peers [--events N] [--runs N] [--only NAME,…] [--timeout S]`. Each round runs Tidemark and then every
peer; each run is checked against a plain recompute. Rates: events after the first quarter until the last result is in
its place; and all events from the first record read, which holds a JVM's warm-up. Starting a program counts in neither.
At the end Feast's feature server beside `tidemark serve` (features.py).
"""

import argparse
import signal
import sys
from dataclasses import dataclass, field

from bench.deployment import Deployment
from bench.peers import features, results
from bench.peers.catalogue import FEAST, PEERS, Peer
from bench.peers.installed import Unavailable, install
from bench.peers.measured import Failed, last_lines
from bench.peers.runs import Figures, run_peer, run_tidemark
from bench.report import Report
from bench.traffic import produce, traffic
from bench.truth import DeviceWindows, device_truth

TIDEMARK = "Tidemark"
DEDUPLICATED = "Tidemark, deduplicated"
OWN = (TIDEMARK, DEDUPLICATED)
GOALS = {
    "Bytewax": 1.9,
    "Kafka Streams": 1.5,
    "Quix Streams": 6.0,
    "PyFlink, Redis at close": 1.0,
    "PyFlink, Redis updated": 1.0,
    "PyFlink, file sink": 1.0,
}
WINDOW_S = 600


@dataclass
class Load:
    """A topic filled with a file."""

    topic: str
    events: int
    truth: DeviceWindows = field(repr=False)


@dataclass
class Outcome:
    """All runs of one system; `reason` when it gave no figure."""

    name: str
    peer: Peer | None
    load: Load
    command: list[str] = field(default_factory=list)
    runs: list[Figures] = field(default_factory=list)
    reason: str = ""


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends with it
    asked = _arguments()
    if asked.install_only:
        for peer in (*PEERS, FEAST):
            if _wanted(asked, peer.name):
                _installed(peer)
        return
    if any(_wanted(asked, name) for name in (*OWN, *(peer.name for peer in PEERS))):
        _streams(asked)
    if _wanted(asked, FEAST.name):
        _say("feature server")
        features.compare(runs=asked.runs)


def _streams(asked: argparse.Namespace) -> None:
    load = f"{asked.events:,} access events of 10,000 devices at 2,000/s of event time, from Kafka, 10-minute windows"
    report = Report("peers", load)
    with Deployment(kafka=True) as deployment:
        outcomes = _outcomes(deployment, asked)
        for number in range(asked.runs):
            for outcome in outcomes:
                if not outcome.reason:
                    _one_run(outcome, deployment, asked, number)
    _fill(report, outcomes)
    report.finish()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=3_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="systems whose name contains one of these, comma between")
    parser.add_argument("--timeout", type=float, help="seconds for one run; default: 120 and 1 per 7,000 events")
    parser.add_argument("--install-only", action="store_true", help="make the peers' environments, measure nothing")
    return parser.parse_args()


def _wanted(asked: argparse.Namespace, name: str) -> bool:
    return any(part.strip().lower() in name.lower() for part in asked.only.split(","))


def _outcomes(deployment: Deployment, asked: argparse.Namespace) -> list[Outcome]:
    """Install what is asked for, fill the topics."""
    chosen = [peer for peer in PEERS if _wanted(asked, peer.name)]
    loads = {share: _load(deployment, int(asked.events * share)) for share in {1.0, *(peer.share for peer in chosen)}}
    found = [Outcome(name, None, loads[1.0]) for name in OWN if _wanted(asked, name)]
    for peer in chosen:
        command, reason = _installed(peer)
        found.append(Outcome(peer.name, peer, loads[peer.share], command, reason=reason))
    return found


def _installed(peer: Peer) -> tuple[list[str], str]:
    """(its command, why there is none)."""
    _say(f"setting up {peer.name}")
    try:
        return install(peer), ""
    except Unavailable as problem:
        _say(f"  {problem}")
        return [], f"does not install here: {problem}"


def _load(deployment: Deployment, events: int) -> Load:
    assert deployment.broker is not None
    file = traffic("access", events)
    topic = f"peers{events}.access"
    _say(f"filling {topic}")
    produce(file, deployment.broker.bootstrap, topic)
    return Load(topic, events, device_truth(file, WINDOW_S))


def _one_run(outcome: Outcome, deployment: Deployment, asked: argparse.Namespace, number: int) -> None:
    _say(f"run {number + 1}: {outcome.name}")
    deployment.empty()
    load, limit = outcome.load, asked.timeout or 120 + outcome.load.events / 7_000
    folder = deployment.folder / f"{outcome.name.lower().replace(', ', '-').replace(' ', '-')}-{number}"
    folder.mkdir()
    try:
        if outcome.peer is None:
            prefix = load.topic.removesuffix("access")
            exact_once = outcome.name == DEDUPLICATED
            figures = run_tidemark(deployment, folder, prefix, load.events, limit, deduplicated=exact_once)
            held = results.of_tidemark(deployment.redis_url)
        else:
            figures = run_peer(outcome.command, deployment, folder, load.topic, load.events, limit)
            files = outcome.peer.files
            held = results.of_files(folder / "files") if files else results.of_peer(deployment.redis_url)
    except Failed as failure:
        outcome.reason = f"failed: {failure}"
        _say(f"  {failure}\n{last_lines(folder / 'err.log', 30)}")
        return
    figures.check(load.truth, held)
    outcome.runs.append(figures)
    _say(f"  {figures.rate:,.0f} events/s, {figures.wrong} wrong windows")


def _fill(report: Report, outcomes: list[Outcome]) -> None:
    rates: dict[str, float] = {}
    for outcome in outcomes:
        if outcome.runs:
            rates[outcome.name] = _row(report, outcome)
        if outcome.reason:
            report.notes.append(f"{outcome.name}: {outcome.reason}")
    for name, factor in GOALS.items():
        own, other = rates.get(TIDEMARK), rates.get(name)
        measured = round(own / other, 2) if own and other else None
        moonshot = " (moonshot)" if name == "PyFlink, file sink" else ""
        report.at_least(f"Tidemark's sustained rate over that of {name}{moonshot}", factor, measured)
    report.notes.append("What each does and does not do: bench/peers/README.md.")


def _row(report: Report, outcome: Outcome) -> float:
    """Put the medians into the report; the sustained rate."""
    name, runs, peer = outcome.name, outcome.runs, outcome.peer

    def median(what: str, values: list[float], digits: int = 0) -> float:
        return report.sample(f"{name}, {what}", values, digits)

    rate = median("events/s", [run.rate for run in runs])
    wrong = [run.wrong for run in runs]
    report.rows.append(
        {
            "system": name,
            "events_per_s": rate,
            "low": round(min(run.rate for run in runs)),
            "high": round(max(run.rate for run in runs)),
            "all_events_per_s": median("events/s with warm-up", [run.rate_of_all for run in runs]),
            "cpu_us_per_event": median("CPU µs/event", [run.cpu_us for run in runs], 1),
            "peak_mb": median("peak MB", [run.peak_rss_mb for run in runs]),
            "start_s": median("start s", [run.start_s for run in runs], 1),
            "wrong_windows": sum(wrong),
            "updated": peer is None or peer.updates,
            "recovers": peer is None or peer.recovers,
            "runs": len(runs),
            "events": outcome.load.events,
        }
    )
    return rate


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
