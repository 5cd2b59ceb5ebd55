"""The figures of the core: `python -m bench.core [--events N] [--kafka HOST:PORT]`.

One machine, empty home: N access events through the files source (and Kafka), drained by `stream --once`, one batch,
then one device's 24 hours asked of the API, half sealed and half speed. Wall-clock seconds of whole commands, so they
include the start of the JVM.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
TIDEMARK = Path(sys.executable).with_name("tidemark")
FROM, CUT, TO = "2026-03-01T00:00:00Z", "2026-03-01T12:00:00Z", "2026-03-02T00:00:00Z"
REQUESTS = 400


def command(*arguments: str, **environment: str) -> float:
    """Seconds that a command took; its output is shown when it fails."""
    started = time.monotonic()
    done = subprocess.run([TIDEMARK, *arguments], env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.monotonic() - started


def simulate(file: Path, events: int) -> None:
    """`events` access records over one day, 2,000 devices."""
    command(
        "simulate",
        "access",
        "--rate",
        str(events / 86_400),
        "--seconds",
        "86400",
        "--seed",
        "1",
        "--start",
        FROM,
        "--keys",
        "2000",
        "--to",
        str(file),
        TIDEMARK_HOME=str(file.parent),
    )


def measure_source(file: Path, home: Path, events: int, **environment: str) -> dict[str, Any]:
    """Ingest, drain and batch on an empty home."""
    settings = {"TIDEMARK_HOME": str(home), **environment}
    ingest = command("ingest", "access", str(file), **settings)
    drain = command("stream", "--once", "--source-contract", "access", **settings)
    batch = command("batch", "--through", CUT, **settings)
    return {
        "ingest_s": round(ingest, 2),
        "drain_s": round(drain, 2),
        "drained_per_s": round(events / drain),
        "batch_s": round(batch, 2),
    }


def measure_answers(home: Path, port: int) -> dict[str, Any]:
    """Milliseconds of `GET /v1/metrics/device_access` for one device over 24 h, one request at a time."""
    url = f"http://127.0.0.1:{port}/v1/metrics/device_access?window=10m&from={FROM}&to={TO}&dim=device_id:"
    environment = {**os.environ, "TIDEMARK_HOME": str(home)}
    server = subprocess.Popen([TIDEMARK, "serve", "--port", str(port)], env=environment, stderr=subprocess.DEVNULL)
    try:
        started = time.monotonic()
        while not _is_ready(port) and time.monotonic() - started < 60:
            time.sleep(0.02)
        ready_s = time.monotonic() - started
        millis: list[float] = []
        layers: set[str] = set()
        for number in range(REQUESTS + 50):
            begun = time.perf_counter()
            with urllib.request.urlopen(f"{url}dev-{number % 100 + 1}", timeout=10) as reply:
                body = reply.read()
            if number >= 50:
                millis.append((time.perf_counter() - begun) * 1000)
            layers |= {point["layer"] for point in json.loads(body)["points"]}
    finally:
        server.terminate()
        server.wait(30)
    cuts = statistics.quantiles(millis, n=100)
    return {
        "ready_s": round(ready_s, 2),
        "p50_ms": round(cuts[49], 2),
        "p95_ms": round(cuts[94], 2),
        "layers": sorted(layers),
    }


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=1):
            return True
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kafka", help="bootstrap of a broker whose topics may be filled")
    parser.add_argument("--port", type=int, default=8765)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        root = Path(folder)
        records = root / "records.ndjson"
        simulate(records, given.events)
        figures: dict[str, Any] = {
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
            "events": given.events,
            "files": measure_source(records, root / "files", given.events),
        }
        figures["answers"] = measure_answers(root / "files", given.port)
        command("redis", "stop", TIDEMARK_HOME=str(root / "files"))
        if given.kafka:
            kafka = {
                "TIDEMARK_SOURCE": "kafka",
                "TIDEMARK_KAFKA_BOOTSTRAP": given.kafka,
                "TIDEMARK_KAFKA_TOPIC_PREFIX": f"bench{os.getpid()}.",
            }
            figures["kafka"] = measure_source(records, root / "kafka", given.events, **kafka)
            command("redis", "stop", TIDEMARK_HOME=str(root / "kafka"))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "core.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
