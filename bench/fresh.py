"""Freshness: seconds from an event's way into the topic until an answer of the API counts it, under a steady load.

Probes are events of devices that nobody has seen before, in the midst of the load; each is asked for until its answer
has it, so every figure includes the poll's own time. Broker, stream with its lake writer, Redis, API, the generator of
the load and the probes share the machine.
"""

import argparse
import http.client
import itertools
import json
import random
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
from confluent_kafka import Producer

from bench.api import Api
from bench.deployment import Deployment
from bench.report import Report
from tidemark.windows import floor_to, iso

READY_S = 240.0
POLL_S = 0.02
GIVE_UP_S = 30.0
PROBERS = 4
PERCENTILES = (50, 95, 99)
GOALS = {2_000: {50: 350, 95: 600, 99: 1_000}, 20_000: {95: 1_500}}
"""rate → percentile → milliseconds."""
TOPIC = "tidemark.access"
BACKLOG = 2_640_000
"""As many ids as deduplication holds at 2,000 events/s: each for 22 minutes, so that a short run is like a long one."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=int, nargs="+", default=list(GOALS))
    parser.add_argument("--seconds", type=float, default=60, help="of probing at each rate, after the warm-up")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--warm-up", type=float, default=75, help="seconds of load before the probes")
    parser.add_argument(
        "--backlog", type=int, default=BACKLOG, help="events of the same load that are in the topic at the start"
    )
    parser.add_argument("--trigger", type=float, help="TIDEMARK_SPEED_TRIGGER_S instead of its default")
    asked = parser.parse_args()
    report = Report(
        "fresh",
        f"access events of 10,000 devices, {asked.seconds:g} s of probes a run after {asked.warm_up:g} s"
        f" and a backlog of {asked.backlog:,} events",
    )
    found: dict[int, list[list[float]]] = {rate: [] for rate in asked.rates}
    for _, rate in itertools.product(range(asked.runs), asked.rates):
        found[rate].append(measure(rate, asked.seconds, asked.warm_up, asked.backlog, asked.trigger))
        figures = [f"p{each} {np.percentile(found[rate][-1], each) * 1000:,.0f} ms" for each in PERCENTILES]
        print(f"run {len(found[rate])}: {rate:,}/s: {', '.join(figures)}", file=sys.stderr, flush=True)
    for rate, runs in found.items():
        row: dict[str, Any] = {"events_per_s": rate, "probes": sum(map(len, runs))}
        for percentile in PERCENTILES:
            each = [float(np.percentile(run, percentile)) * 1000 for run in runs]
            row[f"p{percentile}_ms"] = report.sample(f"{rate}/s, p{percentile} ms", each)
            if goal := GOALS.get(rate, {}).get(percentile):
                report.at_most(f"{rate}/s: p{percentile} ms", goal, row[f"p{percentile}_ms"])
        report.rows.append(row)
    report.finish()


def measure(rate: int, seconds: float, warm_up_s: float, backlog: int, trigger_s: float | None = None) -> list[float]:
    """Seconds of every probe of one run on an empty deployment."""
    with Deployment(kafka=True) as deployment, Api(deployment, 1) as api:
        assert deployment.broker is not None
        if trigger_s is not None:
            deployment.environment["TIDEMARK_SPEED_TRIGGER_S"] = str(trigger_s)
        stop, delays = threading.Event(), list[float]()
        produce_backlog(deployment.broker.bootstrap, rate, backlog)
        threads = [threading.Thread(target=load, args=(deployment.broker.bootstrap, rate, stop))]
        threads[0].start()
        deployment.start("stream", "--source-contract", "access")
        deployment.callback(stop.set)
        first = Prober(deployment.broker.bootstrap, api.port, PROBERS)
        if first.probe(READY_S) is None:
            raise RuntimeError(f"the stream answers nothing: {(deployment.folder / 'stream.log').read_text()[-2000:]}")
        time.sleep(warm_up_s)
        until = time.monotonic() + seconds
        for number in range(PROBERS):
            prober = Prober(deployment.broker.bootstrap, api.port, number)
            threads.append(threading.Thread(target=prober.probe_until, args=(until, delays)))
            threads[-1].start()
        for thread in threads[1:]:
            thread.join()
        stop.set()
        threads[0].join()
    return delays


def produce_backlog(bootstrap: str, rate: int, events: int) -> None:
    """What `load` would have sent before now, so many events."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000})
    began, rng = time.time() - events / rate, random.Random(0)
    for number in range(events):
        if number % rate == 0:
            stamp = _stamp(began + number / rate)
            producer.poll(0)
        producer.produce(TOPIC, event(f"before-{number}", stamp, f"dev-{rng.randrange(10_000)}"))
    if producer.flush(120):
        raise RuntimeError("the broker did not take the backlog")


def load(bootstrap: str, rate: int, stop: threading.Event) -> None:
    """`rate` events a second, now, in steps of 10 ms, until it is told to stop."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
    step, made, began = 0.01, 0, time.monotonic()
    rng = random.Random(1)
    while not stop.is_set():
        due = int((time.monotonic() - began) * rate)
        stamp = _now()
        for number in range(made, due):
            producer.produce(TOPIC, event(f"load-{number}", stamp, f"dev-{rng.randrange(10_000)}"))
        made = due
        producer.poll(0)
        time.sleep(step)
    producer.flush(30)


class Prober:
    """One connection, one probe at a time."""

    def __init__(self, bootstrap: str, port: int, number: int) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GIVE_UP_S)
        self._names = (f"probe-{number}-{count}" for count in itertools.count())
        self._pause = random.Random(number)

    def probe_until(self, until: float, delays: list[float]) -> None:
        """Probe after probe. One that is never answered counts as the time that it was given."""
        while time.monotonic() < until:
            delay = self.probe(GIVE_UP_S)
            delays.append(GIVE_UP_S if delay is None else delay)
            time.sleep(self._pause.random() * 0.3)

    def probe(self, give_up_s: float) -> float | None:
        """Seconds until one new event was counted; None when it was not."""
        name, now = next(self._names), time.time()
        self._producer.produce(TOPIC, event(name, _now(), name))
        sent = time.monotonic()
        self._producer.poll(0)
        start = floor_to(int(now), 600)
        path = f"/v1/metrics/device_access?window=10m&from={iso(start)}&to={iso(start + 1200)}&dim=device_id:{name}"
        while time.monotonic() < sent + give_up_s:
            if self._is_counted(path):
                return time.monotonic() - sent
            time.sleep(POLL_S)
        return None

    def _is_counted(self, path: str) -> bool:
        self._connection.request("GET", path)
        reply = self._connection.getresponse()
        body = reply.read()
        return reply.status == 200 and any(point["values"]["total_users"] == 1 for point in json.loads(body)["points"])


def event(event_id: str, stamp: str, device: str) -> bytes:
    """One access record."""
    return (
        f'{{"event_id":"{event_id}","timestamp":"{stamp}","device_id":"{device}","user_id":"user-1",'
        '"access_count":3,"tenant_id":"acme"}'
    ).encode()


def _now() -> str:
    return _stamp(time.time())


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


if __name__ == "__main__":
    main()
