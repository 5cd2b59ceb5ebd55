"""Events → groups: one row per (window length, window, dims) with the metric's state columns. Pure transforms.

Longer windows are sums and extremes of the shortest, which all of them are multiples of. Where few of those make up a
granule, they are accumulated side by side, as columns of one row per (granule, dims): fewer groups to hash, and one
shuffle instead of two.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spark_jobs.implied_state import split_state
from tidemark.contracts import ContractSet
from tidemark.metrics.model import Metric
from tidemark.metrics.state import StateColumn, aggregate_sql

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

START, WINDOW_START, EVENTS, INPUT = "@start_s", "@window_start_s", "@events", "@"
"""Columns of groups that no dimension can have the name of."""
FOLDS = {"sum": "sum", "count": "sum", "min": "min", "max": "max"}
"""How a state column of groups folds into one of more groups; sketches and averages have none."""
MOST_SLICED = 36
"""Columns of all slices together, beyond which the generated code is slower than a second shuffle."""
_GRANULE, _SLICE = "@granule_s", "@slice"


def group_events(events: "DataFrame", metric: Metric, contracts: ContractSet) -> "DataFrame":
    """One row per (window_s, START in seconds, dims), with the metric's state columns and EVENTS."""
    state, implied = split_state(metric, contracts, EVENTS)
    groups = _group_windows(_inputs(events, metric, state, contracts.newest.event_time), metric, state)
    return groups.selectExpr("*", *(f"{sql} AS `{name}`" for name, sql in implied.items()))


def _group_windows(rows: "DataFrame", metric: Metric, state: Sequence[StateColumn]) -> "DataFrame":
    """A sketch or a mean merged from its parts has other bytes than the stream's: then every window is accumulated
    from the events.
    """
    shortest, *longer = sorted(metric.windows)
    if not longer or any(column.aggregate not in FOLDS for column in state):
        return _accumulate(rows, metric, state, metric.windows)
    if max(longer) // shortest * (1 + len(state)) <= MOST_SLICED:
        return _unslice(_accumulate_slices(rows, metric, state), metric, state)
    return _fold_groups(_accumulate(rows, metric, state, [shortest]), metric, state)


def _inputs(events: "DataFrame", metric: Metric, state: Sequence[StateColumn], event_time: str) -> "DataFrame":
    """START, dims, and what each state column accumulates, as INPUT and its name."""
    rows = events.where(metric.where) if metric.where else events
    return rows.selectExpr(
        f"unix_seconds(`{event_time}`) AS `{START}`",
        *(f"{dim.sql} AS `{dim.name}`" for dim in metric.dims),
        *(f"({column.input_sql}) AS `{INPUT}{column.name}`" for column in state),
    )


def _accumulate(rows: "DataFrame", metric: Metric, state: Sequence[StateColumn], windows: Sequence[int]) -> "DataFrame":
    from pyspark.sql import functions as F

    folded = [F.expr(aggregate_sql(c.aggregate, f"`{INPUT}{c.name}`")).alias(c.name) for c in state]
    return _group(_place(rows, windows), metric, [F.count(F.lit(1)).alias(EVENTS), *folded])


def _fold_groups(groups: "DataFrame", metric: Metric, state: Sequence[StateColumn]) -> "DataFrame":
    from pyspark.sql import functions as F

    folded = [getattr(F, FOLDS[c.aggregate])(c.name).alias(c.name) for c in state]
    placed = _place(groups.drop("window_s"), metric.windows)
    return _group(placed, metric, [F.sum(f"`{EVENTS}`").alias(EVENTS), *folded])


def _place(rows: "DataFrame", windows: Sequence[int]) -> "DataFrame":
    """START, until now any second, becomes that of the row's window; one row per window length, `window_s`."""
    lengths = ", ".join(f"{window_s}L" for window_s in windows)
    each = lengths if len(windows) == 1 else f"explode(array({lengths}))"
    rows = rows.selectExpr(f"{each} AS window_s", "*")
    return rows.selectExpr("*", f"`{START}` - pmod(`{START}`, window_s) AS `{WINDOW_START}`").drop(START)


def _group(rows: "DataFrame", metric: Metric, folded: Sequence["Column"]) -> "DataFrame":
    keys = ["window_s", WINDOW_START, *(dim.name for dim in metric.dims)]
    return rows.groupBy(*(f"`{key}`" for key in keys)).agg(*folded).withColumnRenamed(WINDOW_START, START)


def _accumulate_slices(rows: "DataFrame", metric: Metric, state: Sequence[StateColumn]) -> "DataFrame":
    """One row per (granule, dims); a slice is one of the shortest windows within it."""
    from pyspark.sql import functions as F

    shortest = min(metric.windows)
    within = f"pmod(`{START}`, {metric.granule_s}L)"
    rows = rows.selectExpr("*", f"`{START}` - {within} AS `{_GRANULE}`", f"{within} div {shortest}L AS `{_SLICE}`")
    columns = []
    for number in range(metric.granule_s // shortest):
        here = f"`{_SLICE}` = {number}"
        columns.append(F.expr(f"count_if({here})").alias(_of_slice(number, EVENTS)))
        for column in state:
            value = f"CASE WHEN {here} THEN `{INPUT}{column.name}` END"
            columns.append(F.expr(aggregate_sql(column.aggregate, value)).alias(_of_slice(number, column.name)))
    return rows.groupBy(f"`{_GRANULE}`", *(f"`{dim.name}`" for dim in metric.dims)).agg(*columns)


def _unslice(groups: "DataFrame", metric: Metric, state: Sequence[StateColumn]) -> "DataFrame":
    """A row for each window that has events, of each length, folded from the slices that it consists of."""
    shortest, windows = min(metric.windows), []
    for window_s in metric.windows:
        for start in range(0, metric.granule_s, window_s):
            slices = range(start // shortest, (start + window_s) // shortest)
            events = " + ".join(f"`{_of_slice(number, EVENTS)}`" for number in slices)
            fields = [f"'window_s', {window_s}L", f"'{START}', `{_GRANULE}` + {start}L", f"'{EVENTS}', {events}"]
            fields += [f"'{column.name}', {_folded(column, slices)}" for column in state]
            windows.append(f"named_struct({', '.join(fields)})")
    dims = [f"`{dim.name}`" for dim in metric.dims]
    return groups.selectExpr(*dims, f"inline(array({', '.join(windows)}))").where(f"`{EVENTS}` > 0")


def _folded(column: StateColumn, slices: range) -> str:
    """SQL of one state column over slices; NULL, as an aggregate is, when all of them are."""
    parts = [f"`{_of_slice(number, column.name)}`" for number in slices]
    if len(parts) == 1:
        return parts[0]
    match FOLDS[column.aggregate]:
        case "min":
            return f"least({', '.join(parts)})"
        case "max":
            return f"greatest({', '.join(parts)})"
    total = " + ".join(f"coalesce({part}, CAST(0 AS {column.spark_type}))" for part in parts)
    return f"CASE WHEN coalesce({', '.join(parts)}) IS NOT NULL THEN {total} END"


def _of_slice(number: int, name: str) -> str:
    return f"{INPUT}{number}:{name}"
