"""The truth of a drain of access events: a plain recompute of the file against every window that a system holds."""

from pathlib import Path

import duckdb
import redis

from conf.settings import PACKAGED
from tidemark.dims import encode_dims
from tidemark.keys import speed_window
from tidemark.metrics.registry import load_registry
from tidemark.partials import PartialCodec, finalise
from tidemark.windows import WINDOWS

DeviceWindows = dict[tuple[int, str], tuple[int, int, int, int, float]]
"""(start, device) → (count, sum, min, max, avg) of access_count; start in epoch seconds."""
_PER_DEVICE = """
SELECT epoch_us(timestamp::TIMESTAMPTZ) // ($length * 1000000) * $length, device_id, count(*),
  sum(access_count)::BIGINT, min(access_count), max(access_count)
FROM (SELECT DISTINCT ON (event_id) * FROM read_json($file, format = 'newline_delimited')) GROUP BY ALL ORDER BY 1, 2
"""


def device_truth(file: Path, length: int) -> DeviceWindows:
    """Every window of `length` seconds, of each event once."""
    with duckdb.connect() as connection:
        rows = connection.execute(_PER_DEVICE, {"length": length, "file": str(file)}).fetchall()
    return {(start, device): (n, total, least, most, total / n) for start, device, n, total, least, most in rows}


def wrong_windows(truth: DeviceWindows, held: DeviceWindows) -> int:
    """Windows that are missing, different, or should not be there."""
    return sum(held.get(key) != values for key, values in truth.items()) + len(held.keys() - truth.keys())


def device_differences(file: Path, redis_url: str, windows: tuple[str, ...] = ("10m", "30m")) -> tuple[int, int]:
    """(partials of `device_access` compared, of them missing or different)."""
    metric = load_registry([PACKAGED]).metrics["device_access"]
    codec = PartialCodec(metric)
    compared = wrong = 0
    with redis.Redis.from_url(redis_url) as client:
        for window in windows:
            length = WINDOWS[window]
            truth = device_truth(file, length)
            starts = {start for start, _ in truth}
            held = {start: client.hgetall(speed_window(metric.family, length, start)) for start in starts}
            for (start, device), (count, _, _, _, average) in truth.items():
                packed = held[start].get(encode_dims([device]))
                values = finalise(metric, codec.decode(packed), length) if packed else {}
                compared += 1
                wrong += values != {"avg_access": average, "total_users": count}
    return compared, wrong
