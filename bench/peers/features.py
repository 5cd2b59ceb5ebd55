"""Feast's Python feature server beside `tidemark serve`, on the same Redis: `python -m bench.peers.features`.

Feast answers with two stored features of one device, its newest window. Tidemark answers the same (`latest window`),
and the merge of a device's 24 hours, half sealed and half speed's. Same generator, connections and numbers of workers,
turn by turn; some answers of each are compared with the truth first. No JVM.
"""

import argparse
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.api import Api
from bench.day import WINDOWS, Beating, Day
from bench.deployment import Deployment
from bench.load import Measured, as_fast_as_answered, once_each, post
from bench.peers import measured
from bench.peers.catalogue import FEAST
from bench.peers.installed import Unavailable, install
from bench.peers.measured import Failed
from bench.report import Report
from bench.serve import CHECKED, CONNECTIONS, Questions, check
from conf.settings import Settings
from runtime.ports import free_port
from tidemark.keys import LakeTables

READY_S = 120.0
PATH = "/get-online-features"
FEATURES = ["device_access:avg_access", "device_access:total_users"]
CASES = ("Feast, one device", "Tidemark, latest window", "Tidemark, 24 h merged")
TIMES, SHARE_OF_P95 = 3.0, 0.5


class FeatureServer:
    """`feast serve` with so many workers, from `with` to its end."""

    def __init__(self, python: str, folder: Path, workers: int) -> None:
        self.port = free_port()
        # Requests after which a worker is replaced: Feast's default of 1,000 costs it a p95 of a second here.
        options = ["--no-access-log", "--workers", str(workers), "--max-requests", "1000000000"]
        feast = str(Path(python).with_name("feast"))
        self._command = [feast, "-c", str(folder), "serve", "--port", str(self.port), *options]
        self._folder = folder
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> "FeatureServer":
        with (self._folder / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__(None, None, None)
                raise Failed(f"did not start: {measured.last_line(self._folder / 'serve.log')}")
            time.sleep(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        measured.end_group(self._process)

    def ask(self, device: str) -> list[Any]:
        """[avg_access, total_users] of a device's newest window."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{PATH}", _body(device), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            answer = json.loads(reply.read())
        names = answer["metadata"]["feature_names"]
        values = {name: result["values"][0] for name, result in zip(names, answer["results"], strict=True)}
        return [values["avg_access"], values["total_users"]]

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--asked", type=int, default=2_000, help="how many of them are asked for")
    parser.add_argument("--seconds", type=float, default=10, help="of each single measurement")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    compare(asked.devices, asked.asked, asked.seconds, runs=asked.runs)


def compare(devices: int = 10_000, asked: int = 2_000, seconds: float = 10, *, runs: int) -> None:
    """Measure, print, write bench/results/peers-features.json."""
    load = f"one of {asked:,} devices, {devices:,} stored; {CONNECTIONS} connections, as fast as answered"
    report = Report("peers-features", load)
    found: dict[str, list[Measured]] = {}
    with Deployment() as deployment:
        day = Day(devices, deployment.redis_url, LakeTables(Settings(env="local", home=deployment.home).lake_uri))
        day.write()
        questions = Questions(day, asked)
        python = _prepared(deployment, day, report)
        with Beating(day):
            for _ in range(runs):
                for workers in (1, 2):
                    label = f"{workers} worker{'s' if workers > 1 else ''}"
                    if python:
                        try:
                            with FeatureServer(python, deployment.folder / "feast", workers) as server:
                                run = _feast(server, day, asked, seconds, workers)
                                found.setdefault(f"{CASES[0]}, {label}", []).append(run)
                        except Failed as failure:
                            report.notes.append(f"Feast: {failure}")
                            python = None
                    with Api(deployment, workers) as api:
                        check(api, questions)
                        for case, path in zip(CASES[1:], (questions.latest, questions.whole_day), strict=True):
                            run = _load(api.port, questions.of_devices(path), seconds, workers)
                            found.setdefault(f"{case}, {label}", []).append(run)
    _fill(report, found)
    report.finish()


def _prepared(deployment: Deployment, day: Day, report: Report) -> str | None:
    """The interpreter of Feast's environment, its store filled; None with a note when it cannot be had here."""
    folder = deployment.folder / "feast"
    folder.mkdir()
    totals, counts = day.totals[:, WINDOWS - 1], day.counts[:, WINDOWS - 1]
    document = {
        "names": day.names,
        "avg_access": (totals / counts).tolist(),
        "total_users": counts.tolist(),
        "at": day.end,
    }
    (folder / "devices.json").write_text(json.dumps(document), encoding="utf-8")
    try:
        command = install(FEAST)
        measured.run([*command, str(folder)], {"PEER_REDIS": deployment.redis_url}, folder, 300)
    except Unavailable as problem:
        report.notes.append(f"Feast does not install here: {problem}")
    except Failed as failure:
        report.notes.append(f"Feast: {failure}")
    else:
        return command[0]
    return None


def _feast(server: FeatureServer, day: Day, asked: int, seconds: float, workers: int) -> Measured:
    for device in range(0, asked, max(1, asked // CHECKED)):
        total, count = int(day.totals[device, WINDOWS - 1]), int(day.counts[device, WINDOWS - 1])
        if server.ask(day.names[device]) != [total / count, count]:
            raise Failed(f"a wrong answer for {day.names[device]}")
    requests = [post(PATH, _body(name)) for name in day.names[:asked]]
    return _load(server.port, requests, seconds, workers)


def _load(port: int, requests: Sequence[bytes], seconds: float, workers: int) -> Measured:
    """Warm up until every worker has met nearly every request, then measure."""
    once_each(port, [*requests] * (1 if workers == 1 else 4), connections=CONNECTIONS).expect(200)
    return as_fast_as_answered(port, requests, connections=CONNECTIONS, seconds=seconds).expect(200)


def _fill(report: Report, found: dict[str, list[Measured]]) -> None:
    rates, late = {}, {}
    for name, runs in sorted(found.items()):
        rates[name] = report.sample(f"{name}: answers/s", [run.per_s for run in runs])
        row: dict[str, Any] = {"case": name, "answers_per_s": rates[name]}
        for percent in (50, 95, 99):
            row[f"p{percent}_ms"] = report.sample(
                f"{name}: p{percent} ms", [run.percentile(percent) for run in runs], 1
            )
        late[name] = row["p95_ms"]
        report.rows.append(row)
    for label in ("1 worker", "2 workers"):
        feast = f"{CASES[0]}, {label}"
        for case in CASES[1:]:
            own, known = f"{case}, {label}", feast in rates
            times = round(rates[own] / rates[feast], 2) if known else None
            share = round(late[own] / late[feast], 2) if known else None
            report.at_least(f"{own}: answers/s over Feast's", TIMES, times)
            report.at_most(f"{own}: p95 over Feast's", SHARE_OF_P95, share)


def _body(device: str) -> bytes:
    return json.dumps({"features": FEATURES, "entities": {"device_id": [device]}}).encode()


if __name__ == "__main__":
    main()
