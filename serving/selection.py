"""Which partials of a window a read needs: one entity, or all that match some dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass

from tidemark.dims import encode_dims
from tidemark.metrics.model import Metric

Cells = dict[int, dict[bytes, bytes]]
"""window start → dims key → packed partial."""


@dataclass(frozen=True, slots=True)
class Selection:
    """`dims_key`: the one entity when every dimension is given, else None. `filters`: dimension → canonical text."""

    dims_key: bytes | None
    filters: tuple[tuple[str, str | None], ...]

    @classmethod
    def of(cls, metric: Metric, filters: Mapping[str, str | None]) -> "Selection":
        whole = all(dim.name in filters for dim in metric.dims)
        key = encode_dims([filters[dim.name] for dim in metric.dims]) if whole else None
        return cls(key, tuple(sorted(filters.items())))
