"""The truth of a drain of access events: a plain recompute of the file against every partial that Redis holds."""

from pathlib import Path

import duckdb
import redis

from conf.settings import PACKAGED
from tidemark.dims import encode_dims
from tidemark.keys import speed_window
from tidemark.metrics.registry import load_registry
from tidemark.partials import PartialCodec, finalise
from tidemark.windows import WINDOWS

_PER_DEVICE = """
SELECT epoch(timestamp::TIMESTAMPTZ)::BIGINT // $length * $length, device_id, count(*), sum(access_count)
FROM (SELECT DISTINCT ON (event_id) * FROM read_json($file, format = 'newline_delimited')) GROUP BY ALL ORDER BY 1, 2
"""


def device_differences(file: Path, redis_url: str, windows: tuple[str, ...] = ("10m", "30m")) -> tuple[int, int]:
    """(partials of `device_access` compared, of them missing or different)."""
    metric = load_registry([PACKAGED]).metrics["device_access"]
    codec = PartialCodec(metric)
    compared = wrong = 0
    with duckdb.connect() as connection, redis.Redis.from_url(redis_url) as client:
        for window in windows:
            length = WINDOWS[window]
            rows = connection.execute(_PER_DEVICE, {"length": length, "file": str(file)}).fetchall()
            starts = {row[0] for row in rows}
            held = {start: client.hgetall(speed_window(metric.family, length, start)) for start in starts}
            for start, device, count, total in rows:
                packed = held[start].get(encode_dims([device]))
                values = finalise(metric, codec.decode(packed), length) if packed else {}
                compared += 1
                wrong += values != {"avg_access": total / count, "total_users": count}
    return compared, wrong
