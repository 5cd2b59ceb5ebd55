"""From packed partials of both layers to points."""

from collections.abc import Iterator
from typing import Any, Protocol

from serving.selection import Cells
from tidemark.contenders import contenders
from tidemark.coverage import Missing, SpeedState
from tidemark.errors import Fault
from tidemark.merge import Query, merge_points
from tidemark.metrics.model import Metric
from tidemark.partials import PartialCodec
from tidemark.points import Row
from tidemark.publication import Publication


class Basis(Protocol):
    """What an answer rests on; see answer_service.Situation."""

    @property
    def metric(self) -> Metric: ...

    @property
    def publication(self) -> Publication | None: ...

    @property
    def speed(self) -> SpeedState | None: ...


def merged_points(
    basis: Basis,
    query: Query,
    codec: PartialCodec,
    sealed: Cells,
    moving: Cells,
    missing: tuple[Missing, ...],
) -> list[dict[str, Any]]:
    """Points in the order of the answer. Fault when stored bytes are no partial of the metric."""
    metric = basis.metric
    if len(sealed) + len(moving) == 1 and query.top is not None:
        sealed, moving = (
            {start: contenders(metric, query, codec, window) for start, window in cells.items()}
            for cells in (sealed, moving)
        )
    batch, speed = _rows(codec, sealed), _rows(codec, moving)
    return merge_points(metric, query, basis.publication, batch, speed, basis.speed, missing)


def _rows(codec: PartialCodec, cells: Cells) -> Iterator[Row]:
    for start, window in cells.items():
        for dims_key, packed in window.items():
            try:
                yield Row(start, dims_key, codec.decode(packed))
            except ValueError as error:
                raise Fault(f"stored partial cannot be read: {error}") from error
