"""The coefficients of `tidemark plan`, measured: `python -m bench.capacity [redis] [stream | access | clickstream]`.

`redis`: bytes of a partial in a real server of its own, written by the speed layer's encoder, for 1,000 and 100,000
keys, with and without sketches. `stream`: CPU seconds per event of `stream --once` and `batch`, and bytes per event in
the lake, as the slope between a small and a large run, so that starting a JVM does not count. CPU seconds, not
wall-clock: they hold on a machine that others use too.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import redis

from bench.held import bytes_below
from conf.settings import PACKAGED, Settings
from runtime.redis_server import redis_url, stop_embedded
from streaming.view_rows import ViewRows
from tidemark.dims import encode_dims
from tidemark.metrics.model import Metric
from tidemark.metrics.registry import load_registry
from tidemark.metrics.slots import LAYOUTS

RESULTS = Path(__file__).parent / "results"
TIDEMARK = Path(sys.executable).with_name("tidemark")
START, THROUGH = "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"
T0 = 1_772_323_200
WINDOWS_WRITTEN = 12
ALIKE = 10_000
"""Groups of a table that `ViewRows` is given at a time."""


def measure_redis(keys: int, metric_name: str, distinct: int = 0) -> dict[str, Any]:
    """Server memory per partial of one metric with `keys` groups in each of some windows of one length."""
    metric = load_registry([PACKAGED], PACKAGED, strict=True).metrics[metric_name]
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        settings = Settings(env="test", home=Path(folder))
        try:
            with redis.Redis.from_url(redis_url(settings)) as client:
                before = client.info("memory")["used_memory"]
                for window in range(WINDOWS_WRITTEN):
                    for table in _tables(metric, keys, T0 + window * 600, distinct):
                        pipe = client.pipeline(transaction=False)
                        for command in ViewRows(metric.contract, [metric]).commands(table):
                            pipe.execute_command(*command)
                        pipe.execute()
                used = client.info("memory")["used_memory"] - before
                version = client.info("server")["redis_version"]
        finally:
            stop_embedded(settings)
    partials = (keys if metric.dims else 1) * WINDOWS_WRITTEN
    return {
        "metric": metric_name,
        "keys": keys,
        "partials": partials,
        "distinct_per_sketch": distinct,
        "used_bytes": used,
        "bytes_per_partial": round(used / partials, 1),
        "redis": version,
    }


def _tables(metric: Metric, keys: int, start: int, distinct: int) -> Iterator[pa.Table]:
    """State rows as the speed query hands them over: one per group, every slot of the lane."""
    sketch = _hll(distinct) if distinct else None
    for at in range(0, keys if metric.dims else 1, ALIKE):
        names = [encode_dims([f"dev-{number}"]).decode() for number in range(at, min(keys, at + ALIKE))]
        names = names if metric.dims else [""]
        rows = len(names)
        columns: dict[str, Any] = {
            "family": [metric.family] * rows,
            "part": [0] * rows,
            "wlen": [600] * rows,
            "start": [start] * rows,
            "dims_key": names,
        }
        for slot in LAYOUTS[metric.lane]:
            for output, aggregate in zip(slot.outputs, slot.aggregates, strict=True):
                value: Any = sketch if aggregate in ("hll", "kll") else 1.5 if "double" in slot.spark_type else 12345
                columns[output] = [value] * rows
        yield pa.table(columns)


def _hll(distinct: int) -> bytes:
    from datasketches import hll_sketch, tgt_hll_type

    from tidemark.metrics.model import HLL_LG_K

    sketch = hll_sketch(HLL_LG_K, tgt_hll_type.HLL_8)
    for number in range(distinct):
        sketch.update(f"user-{number}")
    return bytes(sketch.serialize_compact())


def measure_stream(contract: str, events: int, keys: int) -> dict[str, Any]:
    """CPU seconds and bytes of one run over `events` of one day."""
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        root = Path(folder)
        home = {"TIDEMARK_HOME": str(root / "home")}
        records = root / "records.ndjson"
        rate, options = str(events / 86_400), ("--seconds", "86400", "--seed", "1", "--start", START)
        _command(home, "simulate", contract, "--rate", rate, *options, "--keys", str(keys), "--to", str(records))
        _command(home, "ingest", contract, str(records))
        stream_cpu = _command(home, "stream", "--once", "--source-contract", contract)
        batch_cpu = _command(home, "batch", "--through", THROUGH)
        lines = records.read_bytes().count(b"\n")
        sizes = {name: bytes_below(root / "home" / name) for name in ("source", "checkpoints", "redis")}
        lake = {name: bytes_below(root / "home" / "lake" / name) for name in ("bronze", "silver", "gold")}
        raw = records.stat().st_size
        subprocess.run([TIDEMARK, "redis", "stop"], env={**os.environ, **home}, check=True, capture_output=True)
    figures = {"contract": contract, "events": lines, "keys": keys, "raw_bytes": raw}
    return {**figures, "stream_cpu_s": stream_cpu, "batch_cpu_s": batch_cpu, "bytes": sizes | lake}


def _command(environment: dict[str, str], *arguments: str) -> float:
    """CPU seconds of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([TIDEMARK, *arguments], env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)


def slope(small: dict[str, Any], large: dict[str, Any], name: str) -> float:
    """Microseconds of CPU per event between two runs."""
    more: float = large[name] - small[name]
    return round(1e6 * more / float(large["events"] - small["events"]), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["redis", "stream"])
    parser.add_argument("--events", type=int, default=800_000)
    given = parser.parse_args()
    file = RESULTS / "capacity.json"
    figures: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    }
    today = datetime.now(UTC).date().isoformat()
    if "redis" in given.parts:
        cases = (("device_access", 0), ("active_users", 100), ("active_users", 10_000))
        rows = [measure_redis(1_000, name, distinct) for name, distinct in cases]
        rows.append(measure_redis(100_000, "device_access"))
        figures["redis"] = {"date": today, "rows": rows}
    for contract in [each for each in ("access", "clickstream") if {"stream", each} & set(given.parts)]:
        small, large = (measure_stream(contract, n, 2_000) for n in (given.events // 8, given.events))
        cpu = {name: slope(small, large, name) for name in ("stream_cpu_s", "batch_cpu_s")}
        figures[contract] = {"date": today, "small": small, "large": large, "cpu_us_per_event": cpu}
        _write(file, figures)
    _write(file, figures)
    print(json.dumps(figures, indent=2))


def _write(file: Path, figures: dict[str, Any]) -> None:
    """Beside what other runs have measured."""
    RESULTS.mkdir(exist_ok=True)
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, **figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
