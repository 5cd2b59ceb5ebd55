"""Freshness beside peers that update Redis continuously: `python -m bench.peers.fresh`.

Seconds from an event's way into the topic until Redis holds its window, under a load of 2,000 events a second. Probes
are events of devices that nobody has seen, ten a second; Redis is asked for them every 5 ms. Each system starts on a
topic of its own, with the same warm-up. Tidemark runs as `tidemark stream`: deduplication, and its lake writer beside.
"""

import argparse
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import redis
from confluent_kafka import Producer

from bench.deployment import TIDEMARK, Deployment
from bench.peers import measured
from bench.peers.catalogue import PEERS, Peer
from bench.peers.installed import Unavailable, install
from bench.peers.measured import Failed
from bench.peers.results import TIDEMARK_DEFINITIONS
from bench.peers.runs import ENDLESS, peer_environment
from bench.report import Report
from conf.settings import PACKAGED
from tidemark.dims import encode_dims
from tidemark.keys import speed_window
from tidemark.metrics.registry import load_registry
from tidemark.windows import floor_to

RATE = 2_000
FLUSH_S = 0.2
"""How often a peer writes to Redis: as often as each can afford at this rate."""
READY_S = 240.0
WARM_UP_S = 30.0
POLL_S = 0.005
PROBE_EVERY_S = 0.1
GIVE_UP_S = 30.0
WINDOW_S = 600


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=40, help="of probing, after the warm-up")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", default="", help="systems whose name contains this")
    asked = parser.parse_args()
    report = Report("peers-fresh", f"{RATE:,} events/s, 10,000 devices; event produced → its window in Redis")
    systems: dict[str, Peer | None] = {"Tidemark": None, **{peer.name: peer for peer in PEERS if peer.updates}}
    found: dict[str, list[list[float]]] = {}
    with Deployment(kafka=True) as deployment:
        for number in range(asked.runs):
            for place, (name, peer) in enumerate(systems.items()):
                if asked.only.lower() not in name.lower():
                    continue
                print(f"run {number + 1}: {name}", file=sys.stderr, flush=True)
                try:
                    delays = measure(deployment, peer, f"fresh{place}-{number}.", asked.seconds)
                    found.setdefault(name, []).append(delays)
                except (Unavailable, Failed) as problem:
                    report.notes.append(f"{name}: {problem}")
    for name, runs in found.items():
        row: dict[str, str | float] = {"system": name, "probes": sum(map(len, runs))}
        for percentile in (50, 95, 99):
            each = [float(np.percentile(run, percentile)) * 1000 for run in runs]
            row[f"p{percentile}_ms"] = report.sample(f"{name}: p{percentile} ms", each)
        report.rows.append(row)
    report.finish()


def measure(deployment: Deployment, peer: Peer | None, prefix: str, seconds: float) -> list[float]:
    """Seconds of every probe. Failed when the first is not there within READY_S."""
    assert deployment.broker is not None
    deployment.empty()
    folder = deployment.folder / prefix.strip(".")
    folder.mkdir()
    topic = f"{prefix}access"
    if peer is None:
        command = [str(TIDEMARK), "stream", "--source-contract", "access"]
        environment = {
            **deployment.environment,
            "TIDEMARK_KAFKA_TOPIC_PREFIX": prefix,
            "TIDEMARK_DEFINITIONS": str(TIDEMARK_DEFINITIONS),
        }
    else:
        command, environment = install(peer), peer_environment(deployment, folder, topic, ENDLESS, FLUSH_S)
    probes = Probes(deployment.broker.bootstrap, topic, deployment.redis_url, ours=peer is None)
    with _load(deployment.broker.bootstrap, topic), measured.running(command, environment, folder) as (process, _):
        probes.first(process, folder)
        probes.run(WARM_UP_S)
        return probes.run(seconds)


class Probes:
    """Events of new devices, and the look for them in Redis. `ours`: in Tidemark's layout."""

    def __init__(self, bootstrap: str, topic: str, redis_url: str, *, ours: bool) -> None:
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
        self._topic = topic
        self._client = redis.Redis.from_url(redis_url)
        self._family = load_registry([TIDEMARK_DEFINITIONS], PACKAGED).metrics["peer_windows"].family if ours else None
        self._sent = 0
        self._waiting: dict[tuple[str, bytes], float] = {}
        """(key, field) → when it was sent."""

    def first(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        """Until a probe is seen, so that the program works."""
        self._send()
        deadline = time.monotonic() + READY_S
        while not self._seen():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"shows nothing: {measured.last_line(folder / 'err.log')}")
            time.sleep(POLL_S)

    def run(self, seconds: float) -> list[float]:
        """Probes for so long; of each, seconds until it was seen, or GIVE_UP_S."""
        delays: list[float] = []
        due = began = time.monotonic()
        while self._waiting or time.monotonic() < began + seconds:
            if due <= time.monotonic() < began + seconds:
                self._send()
                due += PROBE_EVERY_S
            delays += self._seen()
            time.sleep(POLL_S)
        return delays

    def _send(self) -> None:
        self._sent += 1
        now, device = time.time(), f"probe-{self._sent}"
        start = floor_to(int(now), WINDOW_S)
        key = speed_window(self._family, WINDOW_S, start) if self._family else f"peer:{start}"
        field = encode_dims([device]) if self._family else device.encode()
        self._producer.produce(self._topic, event(device, now, device))
        self._waiting[key, field] = time.monotonic()
        self._producer.poll(0)

    def _seen(self) -> list[float]:
        asked = list(self._waiting)
        with self._client.pipeline(transaction=False) as pipe:
            for key, field in asked:
                pipe.hexists(key, field)
            there = pipe.execute()
        now, delays = time.monotonic(), []
        for each, found in zip(asked, there, strict=True):
            delay = now - self._waiting[each]
            if found or (self._sent > 1 and delay > GIVE_UP_S):
                delays.append(delay)
                del self._waiting[each]
        return delays


@contextmanager
def _load(bootstrap: str, topic: str) -> Iterator[None]:
    """RATE events a second, now, in steps of 10 ms, until the end of the block."""
    stop = threading.Event()

    def work() -> None:
        producer, rng = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5}), random.Random(1)
        made, began = 0, time.monotonic()
        while not stop.wait(0.01):
            now, due = time.time(), int((time.monotonic() - began) * RATE)
            for number in range(made, due):
                producer.produce(topic, event(f"load-{number}", now, f"dev-{rng.randrange(10_000)}"))
            made = due
            producer.poll(0)
        producer.flush(30)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def event(event_id: str, now: float, device: str) -> bytes:
    """One access record of this instant."""
    stamp = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return (
        f'{{"event_id":"{event_id}","timestamp":"{stamp}","device_id":"{device}","user_id":"user-1",'
        '"access_count":3,"tenant_id":"acme"}'
    ).encode()


if __name__ == "__main__":
    main()
