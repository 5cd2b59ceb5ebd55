"""Partials: merge, finalise, and the packed bytes that Redis and gold hold.

A packed partial is: format byte, null bitmap (one bit a component), the components' fixed-width fields in order,
little-endian, then each sketch as length and bytes. COUNT is one int64; SUM_INT two (high part, low 32 bits); doubles
and extremes one; MOMENTS n, mean, m2. Equal partials of exact components have equal bytes, whichever layer made them.
"""

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
from datasketches import hll_sketch, hll_union, kll_doubles_sketch, tgt_hll_type

from tidemark.metrics.final import Partial
from tidemark.metrics.model import HLL_LG_K, SKETCHES, Kind, Metric
from tidemark.metrics.operations import Value
from tidemark.metrics.state import state_columns

FORMAT = 1
_LOW = 0xFFFFFFFF
_FIELDS: dict[Kind, str] = {
    Kind.COUNT: "q",
    Kind.SUM_INT: "qq",
    Kind.SUM_DOUBLE: "d",
    Kind.MIN_INT: "q",
    Kind.MAX_INT: "q",
    Kind.MIN_DOUBLE: "d",
    Kind.MAX_DOUBLE: "d",
    Kind.MOMENTS: "qdd",
    Kind.HLL: "",
    Kind.KLL: "",
}


def merge_partials(metric: Metric, partials: Iterable[Partial]) -> Partial:
    """Merge any number of partials of one metric; order does not matter. ValueError when there are none."""
    rows = list(partials)
    if not rows:
        raise ValueError("nothing to merge")
    if len(rows) == 1:
        return rows[0]
    values = zip(*rows, strict=True)
    return tuple(_merge(c.kind, column) for c, column in zip(metric.components, values, strict=True))


def _merge(kind: Kind, values: Sequence[Any]) -> Any:
    if kind is Kind.COUNT:
        return sum(values)
    if kind is Kind.MOMENTS:
        return _merge_moments(values)
    present = [value for value in values if value is not None]
    if len(present) < 2:
        return present[0] if present else None
    match kind:
        case Kind.SUM_INT:
            return sum(present)
        case Kind.SUM_DOUBLE:
            return _total(present)
        case Kind.MIN_INT | Kind.MIN_DOUBLE:
            return min(present)
        case Kind.MAX_INT | Kind.MAX_DOUBLE:
            return max(present)
        case Kind.HLL:
            return _merge_hll(present)
        case _:
            return _merge_kll(present)


def _total(values: Sequence[float]) -> float:
    """Correctly rounded, so that the order of merging is free; beyond a double it is infinite, as a plain sum is."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return sum(values)


def _merge_moments(values: Sequence[tuple[int, float, float]]) -> tuple[int, float, float]:
    """Chan, Golub, LeVeque (1979): pairwise update of count, mean and sum of squared deviations."""
    count, mean, m2 = 0, 0.0, 0.0
    for n, other, other_m2 in values:
        if n == 0:
            continue
        total, delta = count + n, other - mean
        m2 += other_m2 + delta * delta * count * n / total
        mean += delta * n / total
        count = total
    return count, mean, m2


def _merge_hll(sketches: Sequence[bytes]) -> bytes:
    union = hll_union(HLL_LG_K)
    for sketch in sketches:
        union.update(hll_sketch.deserialize(sketch))
    return bytes(union.get_result(tgt_hll_type.HLL_8).serialize_compact())


def _merge_kll(sketches: Sequence[bytes]) -> bytes:
    merged = kll_doubles_sketch.deserialize(sketches[0])
    for sketch in sketches[1:]:
        merged.merge(kll_doubles_sketch.deserialize(sketch))
    return bytes(merged.serialize())


def finalise(metric: Metric, partial: Partial, window_s: int) -> dict[str, Value]:
    """The named values of a merged partial; a double that is not finite becomes NULL (JSON has no other word)."""
    values: dict[str, Value] = {}
    for output in metric.outputs:
        value = output.final.evaluate(partial, window_s)
        values[output.name] = None if type(value) is float and not math.isfinite(value) else value
    return values


class PartialCodec:
    """Packs and unpacks the partials of one metric."""

    def __init__(self, metric: Metric) -> None:
        self._kinds = [component.kind for component in metric.components]
        self._columns = [state_columns(component, i) for i, component in enumerate(metric.components)]
        self._null_bytes = (len(self._kinds) + 7) // 8
        self._fixed = struct.Struct(f"<B{self._null_bytes}s" + "".join(_FIELDS[kind] for kind in self._kinds))
        self._nullable = sum(1 << i for i, kind in enumerate(self._kinds) if kind not in (Kind.COUNT, Kind.MOMENTS))
        self.has_sketches = any(kind in SKETCHES for kind in self._kinds)
        self._no_nulls = bytes(self._null_bytes)
        self._readers = _field_readers(self._kinds)

    @property
    def fixed_size(self) -> int:
        """Bytes of a packed partial without its sketches."""
        return self._fixed.size

    def encode(self, partial: Partial) -> bytes:
        fields: list[Any] = []
        sketches: list[bytes] = []
        nulls = 0
        for i, (kind, value) in enumerate(zip(self._kinds, partial, strict=True)):
            if value is None:
                nulls |= 1 << i
                fields += [0] * len(_FIELDS[kind])
            elif kind is Kind.SUM_INT:
                fields += [value >> 32, value & _LOW]
            elif kind is Kind.MOMENTS:
                fields += value
            elif kind in SKETCHES:
                sketches.append(struct.pack("<I", len(value)) + value)
            else:
                fields.append(value)
        return self._fixed.pack(FORMAT, nulls.to_bytes(self._null_bytes, "little"), *fields) + b"".join(sketches)

    def decode(self, packed: bytes) -> Partial:
        """ValueError for bytes of another format or length: never a guess."""
        if len(packed) < self._fixed.size or packed[0] != FORMAT:
            raise ValueError("packed partial of an unknown format")
        whole = self._fixed.unpack_from(packed)
        if whole[1] == self._no_nulls and not self.has_sketches and len(packed) == self._fixed.size:
            return tuple([read(whole) for read in self._readers])  # the usual case, read for every point of an answer
        null_bytes, fields = whole[1], whole[2:]
        nulls, at, offset = int.from_bytes(null_bytes, "little"), 0, self._fixed.size
        if nulls & ~self._nullable:
            raise ValueError("packed partial of another metric")
        values: list[Any] = []
        for i, kind in enumerate(self._kinds):
            width = len(_FIELDS[kind])
            parts, at = fields[at : at + width], at + width
            if nulls >> i & 1:
                values.append(None)
            elif kind in SKETCHES:
                length = int.from_bytes(packed[offset : offset + 4], "little")
                values.append(packed[offset + 4 : offset + 4 + length])
                offset += 4 + length
            elif kind is Kind.SUM_INT:
                values.append((parts[0] << 32) + parts[1])
            else:
                values.append(tuple(parts) if width > 1 else parts[0])
        if offset != len(packed):
            raise ValueError("packed partial of another metric")
        return tuple(values)

    def fixed_rows(self, packed: Sequence[bytes]) -> np.ndarray[Any, Any] | None:
        """Many packed partials as one structured array (`c{i}_{j}`); None when one has a NULL, a sketch or
        other bytes."""
        size = self._fixed.size
        joined = b"".join(packed)
        if self.has_sketches or len(joined) != size * len(packed) or any(len(each) != size for each in packed):
            return None
        rows = np.frombuffer(joined, self._dtype())
        return None if (rows["format"] != FORMAT).any() or rows["nulls"].any() else rows

    def encode_columns(self, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> list[bytes]:
        """Pack a frame of state columns (`c{i}_…`, see tidemark.metrics.state), one packed partial a row."""
        arrays = {name: _flat(column) for name, column in columns.items()}
        rows = len(next(iter(arrays.values())))
        fixed = np.zeros(rows, dtype=self._dtype())
        fixed["format"] = FORMAT
        nulls = np.zeros((rows, len(self._kinds)), dtype=bool)
        for i, kind in enumerate(self._kinds):
            self._fill(fixed, nulls, i, kind, arrays)
        fixed["nulls"] = np.packbits(nulls, axis=1, bitorder="little")
        packed = fixed.tobytes()
        size = self._fixed.size
        heads = [packed[at : at + size] for at in range(0, rows * size, size)]
        return self._with_sketches(heads, arrays) if self.has_sketches else heads

    def _dtype(self) -> np.dtype[Any]:
        codes = {"q": "<i8", "d": "<f8"}
        names = [(f"c{i}_{j}", codes[f]) for i, kind in enumerate(self._kinds) for j, f in enumerate(_FIELDS[kind])]
        return np.dtype([("format", "u1"), ("nulls", "u1", (self._null_bytes,)), *names])

    def _fill(self, fixed: Any, nulls: Any, i: int, kind: Kind, arrays: Mapping[str, pa.Array]) -> None:
        columns = [arrays[column.name] for column in self._columns[i]]
        if kind is Kind.MOMENTS:
            count, mean, variance = (_numbers(column) for column in columns)
            fixed[f"c{i}_0"], fixed[f"c{i}_1"], fixed[f"c{i}_2"] = count, mean, variance * count
            return
        nulls[:, i] = columns[0].is_null().to_numpy(zero_copy_only=False)
        if kind is Kind.COUNT:
            nulls[:, i] = False
        if kind is Kind.SUM_INT:
            high, low = (_numbers(column) for column in columns)
            fixed[f"c{i}_0"], fixed[f"c{i}_1"] = high + (low >> 32), low & _LOW
        elif kind not in SKETCHES:
            fixed[f"c{i}_0"] = _numbers(columns[0])

    def _with_sketches(self, heads: list[bytes], arrays: Mapping[str, pa.Array]) -> list[bytes]:
        sketches = [
            arrays[c[0].name].to_pylist()
            for kind, c in zip(self._kinds, self._columns, strict=True)
            if kind in SKETCHES
        ]
        return [
            head + b"".join(struct.pack("<I", len(s)) + s for s in row if s is not None)
            for head, *row in zip(heads, *sketches, strict=True)
        ]


def _field_readers(kinds: Sequence[Kind]) -> list[Callable[[Sequence[Any]], Any]]:
    """Per component without NULL or sketch: its value out of an unpacked partial (after its format and NULLs)."""
    readers: list[Callable[[Sequence[Any]], Any]] = []
    at = 2
    for kind in kinds:
        places = range(at, at := at + len(_FIELDS[kind]))
        if kind is Kind.SUM_INT:
            readers.append(_wide_sum(places[0]))
        elif places:
            readers.append(itemgetter(*places))
    return readers


def _wide_sum(at: int) -> Callable[[Sequence[Any]], int]:
    return lambda fields: (fields[at] << 32) + fields[at + 1]


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _numbers(column: pa.Array) -> Any:
    """A numeric Arrow array as numpy, NULL as zero."""
    return column.fill_null(0).to_numpy(zero_copy_only=False)
