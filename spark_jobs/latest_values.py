"""The documents of `tidemark.published` for the windows that a batch seals."""

from collections.abc import Iterable

import redis

from spark_jobs.sealed_rows import SealedWindow, read_windows
from tidemark.keys import LakeTables
from tidemark.metrics.model import Metric
from tidemark.partials import PartialCodec
from tidemark.publication import Publication
from tidemark.published import LATEST, Document, make_document
from tidemark.windows import Span

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
            written += _write(client, _documents(metric, sealed), metric.retention.hot_s)
    return written


def _documents(metric: Metric, sealed: SealedWindow) -> list[Document]:
    codec, (window_s, start, partials) = PartialCodec(metric), sealed
    groups = sorted(partials.items())
    return [make_document(metric, window_s, start, key, codec.decode(packed)) for key, packed in groups]


def _write(client: "redis.Redis", documents: list[Document], life_s: int) -> int:
    for first in range(0, len(documents), _PER_CALL):
        pipe = client.pipeline(transaction=False)
        for document in documents[first : first + _PER_CALL]:
            for name, key in document.keys.items():
                if name == LATEST:
                    pipe.eval(_SET_UNLESS_NEWER, 1, key, document.stamp, document.text, life_s)
                else:
                    pipe.set(key, document.text, ex=life_s)
        pipe.execute()
    return len(documents)
