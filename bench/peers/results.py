"""Windows as a system left them, in one shape: (start, device) → (count, sum, min, max, avg)."""

from pathlib import Path
from typing import Any

import duckdb
import redis

from bench.truth import DeviceWindows
from conf.settings import PACKAGED
from tidemark.dims import decode_texts
from tidemark.keys import speed_window
from tidemark.metrics.registry import load_registry
from tidemark.partials import PartialCodec, finalise
from tidemark.windows import WINDOWS

TIDEMARK_DEFINITIONS = Path(__file__).parent / "tidemark"
_WINDOW = "10m"


def of_peer(redis_url: str) -> DeviceWindows:
    """From the hashes that job.py describes."""
    held: DeviceWindows = {}
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter("peer:*", count=1000):
            start = int(key.split(b":")[1])
            for device, value in client.hgetall(key).items():
                count, total, least, most, average = value.split(b",")
                held[start, device.decode()] = (int(count), int(total), int(least), int(most), float(average))
    return held


def of_files(folder: Path) -> DeviceWindows:
    """From JSON files with the columns of the job."""
    files = [str(file) for file in folder.rglob("*") if file.is_file() and not file.name.startswith(".")]
    if not files:
        return {}
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT start, device_id, n, total, least, most, average"
            " FROM read_json($files, format = 'newline_delimited')",
            {"files": files},
        ).fetchall()
    return {(start, device): (*held,) for start, device, *held in rows}


def of_tidemark(redis_url: str) -> DeviceWindows:
    """From Tidemark's speed views of the metric in tidemark/metrics."""
    metric = load_registry([TIDEMARK_DEFINITIONS], PACKAGED).metrics["peer_windows"]
    codec, length, held = PartialCodec(metric), WINDOWS[_WINDOW], DeviceWindows()
    pattern = speed_window(metric.family, length, 0).removesuffix("0") + "*"
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(pattern, count=1000):
            start = int(key.rsplit(b":", 1)[1])
            for dims, partial in client.hgetall(key).items():
                values = finalise(metric, codec.decode(partial), length)
                found: Any = tuple(values[name] for name in ("events", "total", "least", "most", "average"))
                held[start, str(decode_texts(dims)[0])] = found
    return held
