"""From collected state rows to Redis commands: packed partials, indexes, accepted minutes, published values."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streaming.fenced_writer import SET_NEWER, Command
from tidemark import keys
from tidemark.keys import EVENTS_FAMILY
from tidemark.metrics.model import Metric
from tidemark.metrics.slots import place, unslot
from tidemark.partials import PartialCodec
from tidemark.published import LATEST, make_document

_HASH_FIELDS = 500
"""Fields of one HSET: enough to amortise it, few enough for Lua's stack."""


class ViewRows:
    """Turns the rows of one micro-batch into commands. Rows of families it does not know are ignored."""

    def __init__(self, contract: str, metrics: Sequence[Metric]) -> None:
        self._contract = contract
        self._families = {metric.family: MetricRows(metric) for metric in metrics}

    def commands(self, rows: pa.Table) -> Iterator[Command]:
        """`rows`: family, part, wlen, start, dims_key and slots; one row per group and part."""
        if rows.num_rows == 0:
            return
        for family in pc.unique(rows["family"]).to_pylist():
            is_mine = pc.equal(rows["family"], family)
            if family == EVENTS_FAMILY:
                yield from self._accepted(rows.select(["start", "long_sum0"]).filter(is_mine))
            elif family in self._families:
                metric = self._families[family]
                yield from metric.commands(rows.select(metric.columns).filter(is_mine))

    def _accepted(self, rows: pa.Table) -> Iterator[Command]:
        key = keys.accepted(self._contract)
        pairs = list(zip(rows["start"].to_pylist(), rows["long_sum0"].to_pylist(), strict=True))
        for at in range(0, len(pairs), _HASH_FIELDS):
            yield ("HSET", key, *(word for pair in pairs[at : at + _HASH_FIELDS] for word in pair))


class MetricRows:
    """Commands of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._codec = PartialCodec(metric)
        parts = sorted({placement.part for placement in place(metric)})
        self._columns = [(part, unslot(metric, part)) for part in parts]
        slots = {output for _, names in self._columns for output in names.values()}
        self.columns = ["part", "wlen", "start", "dims_key", *sorted(slots)]
        """Of the state's rows, those that this metric reads; a batch may bring a million of them."""

    def commands(self, rows: pa.Table) -> Iterator[Command]:
        """HSET and ZADD per touched window, then what the metric publishes."""
        groups, packed = self._pack(rows)
        if not packed:
            return
        lengths = groups["wlen"].to_numpy()
        starts = groups["start"].to_numpy()
        dims_keys = groups["dims_key"].to_pylist()
        edges = np.flatnonzero((np.diff(lengths) != 0) | (np.diff(starts) != 0)) + 1
        for low, high in zip([0, *edges], [*edges, len(packed)], strict=True):
            yield from self._window(int(lengths[low]), int(starts[low]), dims_keys[low:high], packed[low:high])
        if self._metric.publish:
            finest = min(self._metric.windows)
            for i in np.flatnonzero(lengths == finest):
                yield from self._publish(finest, int(starts[i]), dims_keys[i], packed[i])

    def _pack(self, rows: pa.Table) -> tuple[pa.Table, list[bytes]]:
        """Groups in order of (length, start), with their packed partials; the parts of a group are side by side."""
        order = [("wlen", "ascending"), ("start", "ascending"), ("dims_key", "ascending")]
        columns: dict[str, Any] = {}
        groups = rows.slice(0, 0)
        for part, names in self._columns:
            groups = rows.filter(pc.equal(rows["part"], part)).sort_by(order)
            columns.update({column: groups[output] for column, output in names.items()})
        return groups, self._codec.encode_columns(columns) if groups.num_rows else []

    def _window(self, length: int, start: int, dims_keys: list[str], packed: list[bytes]) -> Iterator[Command]:
        family = self._metric.family
        key = keys.speed_window(family, length, start)
        for at in range(0, len(packed), _HASH_FIELDS):
            pairs = zip(dims_keys[at : at + _HASH_FIELDS], packed[at : at + _HASH_FIELDS], strict=True)
            yield ("HSET", key, *(word for pair in pairs for word in pair))
        yield ("ZADD", keys.speed_index(family, length), start, start)

    def _publish(self, length: int, start: int, dims_key: str, packed: bytes) -> Iterator[Command]:
        """Without an end while the window is not sealed; one that the batch has set by sealing it stays."""
        document = make_document(self._metric, length, start, dims_key.encode(), self._codec.decode(packed))
        for name, key in document.keys.items():
            if name == LATEST:
                yield (SET_NEWER, key, document.stamp, document.text)
            else:
                yield ("SET", key, document.text, "KEEPTTL")
