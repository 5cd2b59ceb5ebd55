"""Sealed partials in Redis: one hash per (family, window length, window, version), complete or not there.

Written before the publication that names their version, so no reader looks at a hash that is still growing. The
sentinel field comes last and also marks empty windows. An index per (family, window length) is written before any
hash, so whatever a killed batch left behind is found again.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

import redis

from spark_jobs.sealed_rows import SealedWindow, read_windows
from tidemark import keys
from tidemark.metrics.model import Metric
from tidemark.publication import Publication
from tidemark.windows import Span, starts

Window = tuple[int, int]
"""(window_s, start)"""
GRACE_S = 300
"""How long a superseded hash stays for readers that took the old pointer just before it moved."""
_FIELDS_PER_CALL = 5_000
_KEYS_PER_CALL = 1_000
_T = TypeVar("_T")


def hot_span(publication: Publication) -> Span:
    return Span(publication.hot_from, publication.sealed_through)


def hot_windows(metric: Metric, span: Span) -> list[Window]:
    """Every window of the span, of every declared length, whether it has rows or not."""
    return [(window_s, start) for window_s in metric.windows for start in starts(span, window_s)]


def missing_windows(client: "redis.Redis", metric: Metric, publication: Publication) -> set[Window]:
    """Hot windows that Redis does not hold under the version that owns them."""
    missing: set[Window] = set()
    for chunk in _chunks(hot_windows(metric, hot_span(publication))):
        pipe = client.pipeline(transaction=False)
        for window in chunk:
            pipe.hexists(_key(publication, window), keys.SENTINEL)
        missing.update(window for window, there in zip(chunk, pipe.execute(), strict=True) if not there)
    return missing


def write_windows(
    client: "redis.Redis", metric: Metric, publication: Publication, gold_uri: str, wanted: set[Window]
) -> int:
    """Write these windows from gold as the publication pins it; returns the partials written."""
    if not wanted:
        return 0
    _index(client, publication, wanted)
    spans = (Span(start, start + window_s) for window_s, start in wanted)
    empty, written = set(wanted), 0
    for sealed in read_windows(gold_uri, publication.gold_version, spans):
        window = (sealed.window_s, sealed.start)
        if window in wanted:
            empty.discard(window)
            _write_hash(client, _key(publication, window), sealed)
            written += len(sealed.partials)
    for chunk in _chunks(sorted(empty)):
        pipe = client.pipeline(transaction=True)
        for window in chunk:
            pipe.delete(_key(publication, window))
            pipe.hset(_key(publication, window), keys.SENTINEL, "0")
        pipe.execute()
    return written


def expire_superseded(client: "redis.Redis", family: str, lengths: Iterable[int], publication: Publication) -> int:
    """Let every indexed hash lapse that the publication does not name: older versions, windows no longer hot."""
    gone = 0
    for window_s in lengths:
        index = keys.batch_index(family, window_s)
        members: list[bytes] = client.zrange(index, 0, -1)  # type: ignore[assignment]
        old = [member for member in members if not _is_current(member, family, publication)]
        for chunk in _chunks(old):
            pipe = client.pipeline(transaction=False)
            for member in chunk:
                start, version = map(int, member.split(b":"))
                pipe.expire(keys.batch_window(family, window_s, start, version), GRACE_S)
            pipe.zrem(index, *chunk)
            pipe.execute()
        gone += len(old)
    return gone


def _is_current(member: bytes, family: str, publication: Publication) -> bool:
    start, version = map(int, member.split(b":"))
    hot = publication.hot_from <= start < publication.sealed_through
    return hot and family == publication.family and publication.version_of(start) == version


def _key(publication: Publication, window: Window) -> str:
    version = publication.version_of(window[1])
    return keys.batch_window(publication.family, window[0], window[1], version or publication.version)


def _index(client: "redis.Redis", publication: Publication, wanted: Iterable[Window]) -> None:
    pipe = client.pipeline(transaction=False)
    for window_s, start in wanted:
        member = f"{start}:{publication.version_of(start) or publication.version}"
        pipe.zadd(keys.batch_index(publication.family, window_s), {member: start})
    pipe.execute()


def _write_hash(client: "redis.Redis", key: str, sealed: SealedWindow) -> None:
    pipe = client.pipeline(transaction=False)
    pipe.delete(key)
    for fields in _chunks(sealed.partials.items(), _FIELDS_PER_CALL):
        pipe.hset(key, mapping=dict(fields))
    pipe.hset(key, keys.SENTINEL, str(len(sealed.partials)))
    pipe.execute()


def _chunks(items: Iterable[_T], size: int = _KEYS_PER_CALL) -> Iterator[list[_T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
