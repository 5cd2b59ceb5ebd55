"""Answers of the API: how many a second, and how late at a fixed rate, with the generator on the same machine.

One device over a day of 10-minute windows (half sealed, half speed's), its latest window, the ranking of all devices
in one window. A stream keeps writing. Every kind of answer is compared with the truth before it is timed.
"""

import argparse
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.api import Api, redis_cpu_s
from bench.day import WINDOW_S, WINDOWS, Beating, Day
from bench.deployment import Deployment
from bench.load import Measured, as_fast_as_answered, at_rate, get, once_each
from bench.report import Report
from conf.settings import Settings
from tidemark.keys import LakeTables
from tidemark.windows import iso

CONNECTIONS = 32
RATE = 1_000
CHECKED = 100
PATH = "/v1/metrics/device_access?window=10m&"


@dataclass(frozen=True, slots=True)
class Questions:
    """The kinds of question about a day; `asked` of its devices are drawn from."""

    day: Day
    asked: int

    def whole_day(self, device: int) -> str:
        return f"{PATH}from={iso(self.day.start)}&to={iso(self.day.end)}&dim=device_id:{self.day.names[device]}"

    def latest(self, device: int) -> str:
        start = self.day.end - WINDOW_S
        return f"{PATH}from={iso(start)}&to={iso(self.day.end)}&dim=device_id:{self.day.names[device]}"

    def top(self, place: int) -> str:
        start = self.day.start + place * WINDOW_S
        asked = f"from={iso(start)}&to={iso(start + WINDOW_S)}"
        return f"{PATH}{asked}&group_by=device_id&top=10&order_by=-total_users"

    def kpi(self, device: int) -> str:
        return f"/kpi/{self.day.names[device]}/10min"

    def of_devices(self, path: Callable[[int], str]) -> list[bytes]:
        return [get(path(device)) for device in range(self.asked)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--asked", type=int, default=2_000, help="how many of them are asked for")
    parser.add_argument("--seconds", type=float, default=10, help="of each single measurement")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    report = Report(
        "serve", f"one of {asked.asked:,} devices over 24 h (144 windows); {asked.devices:,} devices stored"
    )
    measured: dict[str, list[dict[str, float]]] = {}
    with Deployment() as deployment:
        day = Day(asked.devices, deployment.redis_url, LakeTables(Settings(env="local", home=deployment.home).lake_uri))
        day.write()
        questions = Questions(day, asked.asked)
        with Beating(day):
            for _ in range(asked.runs):
                for workers in (1, 2):
                    with Api(deployment, workers) as api:
                        check(api, questions)
                        for name, found in measure(api, workers, questions, asked.seconds, deployment.redis_url):
                            measured.setdefault(name, []).append(found)
    for name, runs in measured.items():
        report.rows.append({"case": name} | _medians(report, name, runs))
    _goals(report)
    report.finish()


def measure(
    api: Api, workers: int, questions: Questions, seconds: float, redis_url: str
) -> Iterator[tuple[str, dict[str, float]]]:
    """(case, its figures). After the first, which reads everything anew, every worker has seen nearly every device."""
    whole, latest = questions.of_devices(questions.whole_day), questions.of_devices(questions.latest)
    top, kept = ([get(questions.top(place))] for place in (WINDOWS - 1, WINDOWS // 2 - 1))
    label = f"{workers} worker{'s' if workers > 1 else ''}"

    def fast(requests: list[bytes], connections: int = CONNECTIONS) -> Callable[[], Measured]:
        return lambda: as_fast_as_answered(api.port, requests, connections=connections, seconds=seconds)

    def fixed(requests: list[bytes], rate: float) -> Callable[[], Measured]:
        return lambda: at_rate(api.port, requests, rate=rate, seconds=seconds)

    cases = {
        "24 h, first time": lambda: once_each(api.port, whole, connections=CONNECTIONS),
        "24 h": fast(whole),
        f"24 h at {RATE:,}/s": fixed(whole, RATE),
        "latest window": fast(latest),
        "latest, /kpi": fast(questions.of_devices(questions.kpi)),
        "top 10 of all, open window, at 10/s": fixed(top, 10),
        "top 10 of all, sealed window": fast(kept),
    }
    for name, run in cases.items():
        if name == "24 h":
            once_each(api.port, whole * (1 if workers == 1 else 4), connections=CONNECTIONS)
        before = api.cpu_s(), redis_cpu_s(redis_url)
        found = run().expect(200)
        answers = len(found.latencies_ms)
        yield (
            f"{name}, {label}",
            {
                "answers_per_s": found.per_s,
                "p50_ms": found.percentile(50),
                "p95_ms": found.percentile(95),
                "p99_ms": found.percentile(99),
                "server_cpu_us": (api.cpu_s() - before[0]) / answers * 1e6,
                "redis_cpu_us": (redis_cpu_s(redis_url) - before[1]) / answers * 1e6,
                "generator_cpu_us": found.cpu_us,
            },
        )


def check(api: Api, questions: Questions, rankings: bool = True) -> None:
    """Every point of some devices' answers, and rankings of all, against the truth; a difference ends the run."""
    day, rng = questions.day, random.Random(questions.day.seed)
    for device in rng.sample(range(questions.asked), CHECKED):
        for path, places in ((questions.whole_day, range(day.windows)), (questions.latest, [day.windows - 1])):
            answer = api.ask(path(device))
            expected = [_point(day, device, place) for place in places]
            found = [(point["start"], point["layer"], point["values"]) for point in answer["points"]]
            if not answer["complete"] or found != expected:
                raise RuntimeError(f"a wrong answer: {path(device)}")
    for place in (day.windows - 1, day.windows // 2 - 1) if rankings else ():
        best = np.sort(day.counts[:, place])[::-1][:10].tolist()
        answer = api.ask(questions.top(place))
        for point, count in zip(answer["points"], best, strict=True):
            device = day.names.index(point["dims"]["device_id"])
            if (point["values"]["total_users"], point["values"]) != (count, _point(day, device, place)[2]):
                raise RuntimeError(f"a wrong ranking: {questions.top(place)}")


def _point(day: Day, device: int, place: int) -> tuple[str, str, dict[str, Any]]:
    start = day.start + place * WINDOW_S
    total, count = int(day.totals[device, place]), int(day.counts[device, place])
    return iso(start), "batch" if start < day.cut else "speed", {"avg_access": total / count, "total_users": count}


def _medians(report: Report, name: str, runs: list[dict[str, float]]) -> dict[str, float]:
    digits = {"answers_per_s": 0, "p50_ms": 1, "p95_ms": 1, "p99_ms": 1}
    return {
        figure: report.sample(f"{name}: {figure}", [run[figure] for run in runs], digits.get(figure, 0))
        for figure in runs[0]
    }


def _goals(report: Report) -> None:
    rows = {str(row["case"]): row for row in report.rows}
    best = max(rows[f"24 h, {label}"]["answers_per_s"] for label in ("1 worker", "2 workers"))
    report.at_least("24 h for one device: answers/s, the better of 1 and 2 workers", 2_500, best)
    for percent, goal in ((95, 25), (99, 60)):
        measured = rows[f"24 h at {RATE:,}/s, 2 workers"][f"p{percent}_ms"]
        report.at_most(f"24 h at {RATE:,} requests/s, 2 workers: p{percent} ms", goal, measured)
    best = max(rows[f"latest window, {label}"]["answers_per_s"] for label in ("1 worker", "2 workers"))
    report.at_least("latest window: answers/s, the better of 1 and 2 workers", 4_000, best)
    measured = rows["top 10 of all, open window, at 10/s, 2 workers"]["p95_ms"]
    report.at_most("top 10 of all devices in the open window, 2 workers: p95 ms", 30, measured)


if __name__ == "__main__":
    main()
