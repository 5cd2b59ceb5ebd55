"""Positions in a source: plain JSON documents, comparable without opening the source.

files: `{"segments": [name, …]}`, a set, because concurrent appenders may complete segments out of order.
kafka: `{topic: {"0": next_offset, …}}`, as Spark writes its Kafka offsets.
"""

from typing import Any

Position = dict[str, Any]
SEGMENTS = "segments"


def segment_records(name: str) -> int:
    """Records in a segment: the last part of its name `<received_ns>-<unique>-<records>.parquet`."""
    return int(name.removesuffix(".parquet").rsplit("-", 1)[1])


def segment_received_ns(name: str) -> int:
    """When a segment was received, nanoseconds since the epoch: the first part of its name."""
    return int(name.split("-", 1)[0])


def lag(end: Position, consumed: Position | None) -> int:
    """Records between what was consumed (None: nothing) and an end position; 0 means that all of `end` was consumed.

    Trap: for Kafka, a consumer that never started is counted from offset 0, also where the topic begins later.
    """
    taken = consumed or {}
    if SEGMENTS in end:
        return sum(map(segment_records, set(end[SEGMENTS]).difference(taken.get(SEGMENTS, ()))))
    return sum(
        max(0, offset - taken.get(topic, {}).get(partition, 0))
        for topic, partitions in end.items()
        for partition, offset in partitions.items()
    )
