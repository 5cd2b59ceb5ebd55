"""Who can be among the first N of one window: measured in bulk, roughly, so that only a few are merged exactly.

A ranking of ten thousand groups shows ten. What is left out here is certain to rank below them; the order of the rest,
and their values, are the merge's to say.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemark.merge import Query
from tidemark.metrics.final import AverageOf, CountOf, Final, SumOf
from tidemark.metrics.model import Kind, Metric
from tidemark.partials import PartialCodec

SLACK = 1e-9
"""Relative; measuring in doubles is good to 1e-15."""


def contenders(metric: Metric, query: Query, codec: PartialCodec, window: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The part of a window (dims key → packed partial) that holds the first `query.top` groups and all their ties.

    The whole of it when that can't be told in bulk: rolled-up or filtered dims, sketches, NULLs, other measures.
    It must be the only window that the answer rests on.
    """
    top = query.top
    if top is None or len(window) <= 2 * top or query.filters or query.dims != {dim.name for dim in metric.dims}:
        return dict(window)
    order_by = query.order_by or f"-{metric.outputs[0].name}"
    final = next(output.final for output in metric.outputs if output.name == order_by.removeprefix("-"))
    rows = codec.fixed_rows(list(window.values()))
    measured = None if rows is None else _measure(metric, final, rows)
    if measured is None or not np.isfinite(measured).all():
        return dict(window)
    ranked = -measured if order_by.startswith("-") else measured
    last = float(np.partition(ranked, top - 1)[top - 1])
    near = np.flatnonzero(ranked <= last + SLACK * abs(last))
    keys = list(window)
    return {key: window[key] for key in (keys[place] for place in near.tolist())}


def _measure(metric: Metric, final: Final, rows: NDArray[Any]) -> NDArray[np.float64] | None:
    """A measure of every row; None for those that only the finalise expression itself knows."""
    match final:
        case CountOf():
            return _doubles(rows, final.index, 0)
        case SumOf():
            return _sum(metric, final, rows)
        case AverageOf():
            with np.errstate(divide="ignore", invalid="ignore"):
                return _sum(metric, final.total, rows) / _doubles(rows, final.count.index, 0)
    return None


def _sum(metric: Metric, final: SumOf, rows: NDArray[Any]) -> NDArray[np.float64]:
    """Scaled alike for all rows, so decimals need no division."""
    first = _doubles(rows, final.index, 0)
    if metric.components[final.index].kind is Kind.SUM_INT:
        return first * 2.0**32 + _doubles(rows, final.index, 1)
    return first


def _doubles(rows: NDArray[Any], component: int, part: int) -> NDArray[np.float64]:
    return np.asarray(rows[f"c{component}_{part}"], np.float64)
