"""Finished values as JSON under a metric's own Redis keys (`publish:` in its definition), for apps that read Redis.

The speed layer writes them while windows are open; the batch writes them again for the windows it seals, so that an
app sees what late events changed. Of the finest declared window; `latest` never goes back to an older window.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import redis

from spark_jobs.sealed_rows import SealedWindow, read_windows
from tidemark.dims import decode_dims
from tidemark.keys import LakeTables
from tidemark.metrics.model import Metric
from tidemark.partials import PartialCodec, finalise
from tidemark.publication import Publication
from tidemark.windows import Span, iso

_SET_UNLESS_NEWER = """
local held = redis.pcall('GET', KEYS[1])
if type(held) == 'string' then
  local ok, document = pcall(cjson.decode, held)
  if ok and type(document) == 'table' and type(document.window_start) == 'string'
     and document.window_start > ARGV[1] then return 0 end
end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""
_PER_CALL = 1_000


def publish_values(
    client: "redis.Redis", tables: LakeTables, metric: Metric, publication: Publication, changed: Iterable[Span]
) -> int:
    """Write the values of the changed hot windows; returns how many documents."""
    if not metric.publish:
        return 0
    hot = [Span(max(span.start, publication.hot_from), span.end) for span in changed]
    finest, written = min(metric.windows), 0
    for sealed in read_windows(tables.gold(metric.name), publication.gold_version, hot):
        if sealed.window_s == finest:
            written += _write(client, metric, list(_documents(metric, sealed)))
    return written


def _documents(metric: Metric, sealed: SealedWindow) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(dims, document) per group."""
    codec = PartialCodec(metric)
    times = {"window_start": iso(sealed.start), "window_end": iso(sealed.start + sealed.window_s)}
    for key, packed in sorted(sealed.partials.items()):
        dims = decode_dims(metric, key)
        yield dims, {**times, **dims, **finalise(metric, codec.decode(packed), sealed.window_s)}


def _write(client: "redis.Redis", metric: Metric, documents: list[tuple[dict[str, Any], dict[str, Any]]]) -> int:
    life_s = metric.retention.hot_s
    for first in range(0, len(documents), _PER_CALL):
        pipe = client.pipeline(transaction=False)
        for dims, document in documents[first : first + _PER_CALL]:
            start = document["window_start"]
            text = json.dumps(document, default=str).replace('{"window_start": ', '{"window_start":', 1)
            for name, template in metric.publish.items():
                key = fill(template, {**dims, "window_start": start})
                if name == "latest":
                    pipe.eval(_SET_UNLESS_NEWER, 1, key, start, text, life_s)
                else:
                    pipe.set(key, text, ex=life_s)
        pipe.execute()
    return len(documents)


def fill(template: str, values: Mapping[str, Any]) -> str:
    """`agg:{device_id}` → `agg:dev-1`. A value is put in as it is, never read as a template again."""
    head, *parts = template.split("{")
    filled = [head]
    for part in parts:
        name, _, rest = part.partition("}")
        filled.append(f"{'' if values[name] is None else values[name]}{rest}")
    return "".join(filled)
