"""Every shipped metric by hand: which events count, by which dimensions, and its measures over a list of events."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.oracle.expected import Close, Distinct, Exact, Expected, Rank

Event = Mapping[str, Any]
Key = tuple[int, tuple[Any, ...]]
"""(window start in epoch seconds, dimension values in the order of `group_by`)."""
Values = dict[str, Expected]


@dataclass(frozen=True)
class OracleMetric:
    """One metric. `measures(events, window_s)` is given at least one event, all of them counting."""

    contract: str
    dims: tuple[str, ...]
    counts: Callable[[Event], bool]
    measures: Callable[[list[Event], int], Values]


def points(
    metric_name: str, events: Iterable[Event], window_s: int, group_by: Sequence[str], filters: Mapping[str, Any]
) -> dict[Key, Values]:
    """Expected values of every point: one per window and group in which an event counts. `events` are distinct and
    valid, of the metric's contract; dimensions in neither `group_by` nor `filters` are rolled up."""
    metric = METRICS[metric_name]
    if not {*group_by, *filters} <= set(metric.dims):
        raise KeyError(f"{metric_name} has only the dimensions {metric.dims}")
    grouped: dict[Key, list[Event]] = {}
    for event in events:
        if metric.counts(event) and all(event.get(dim) == value for dim, value in filters.items()):
            start = event_second(event) // window_s * window_s
            grouped.setdefault((start, tuple(event.get(dim) for dim in group_by)), []).append(event)
    return {key: metric.measures(members, window_s) for key, members in grouped.items()}


def read_events(ledger: Path) -> list[dict[str, Any]]:
    """The events of a ledger: newline-delimited JSON."""
    return [json.loads(line) for line in ledger.read_bytes().split(b"\n") if line]


def event_second(event: Event) -> int:
    """Event time in whole epoch seconds, rounded down."""
    return math.floor(datetime.fromisoformat(event["timestamp"]).timestamp())


def _sum(events: Iterable[Event], name: str) -> int | None:
    values = [event[name] for event in events if event.get(name) is not None]
    return sum(values) if values else None


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _ratio(part: int | None, whole: int) -> float | None:
    return None if part is None or whole == 0 else part / whole


def _of_type(events: Iterable[Event], event_type: str) -> list[Event]:
    return [event for event in events if event["event_type"] == event_type]


def _distinct(events: Iterable[Event], name: str) -> int:
    return len({event[name] for event in events if event.get(name) is not None})


def _device_access(events: list[Event], _: int) -> Values:
    return {
        "avg_access": Close(_mean([event["access_count"] for event in events])),
        "total_users": Exact(sum(event["user_id"] is not None for event in events)),
    }


def _device_energy(events: list[Event], window_s: int) -> Values:
    powers = [event["metrics"]["power_w"] for event in events]
    mean = math.fsum(powers) / len(powers)
    return {
        "avg_power_w": Close(mean),
        "max_power_w": Close(max(powers)),
        "sum_energy_wh": Close(mean * (window_s / 3600)),
    }


def _page_views(events: list[Event], _: int) -> Values:
    return {"views": Exact(len(events))}


def _active_users(events: list[Event], _: int) -> Values:
    return {"active_users": Distinct(_distinct(events, "user_id"))}


def _revenue(events: list[Event], _: int) -> Values:
    revenue = _sum(events, "amount_cents")
    return {
        "revenue_cents": Exact(revenue),
        "purchases": Exact(len(events)),
        "average_order_cents": Close(_ratio(revenue, len(events))),
    }


def _top_products(events: list[Event], _: int) -> Values:
    purchases = _of_type(events, "purchase")
    return {
        "views": Exact(len(_of_type(events, "page_view"))),
        "purchases": Exact(len(purchases)),
        "revenue_cents": Exact(_sum(purchases, "amount_cents") or 0),
    }


def _funnel(events: list[Event], _: int) -> Values:
    views, purchases = len(_of_type(events, "page_view")), len(_of_type(events, "purchase"))
    return {
        "views": Exact(views),
        "clicks": Exact(len(_of_type(events, "click"))),
        "purchases": Exact(purchases),
        "conversion_rate": Close(_ratio(purchases, views)),
    }


def _geo(events: list[Event], _: int) -> Values:
    return {"events": Exact(len(events)), "users": Distinct(_distinct(events, "user_id"))}


def _order_status(events: list[Event], _: int) -> Values:
    return {"orders": Exact(len(events))}


def _payment_success(events: list[Event], _: int) -> Values:
    paid, failed = len(_of_type(events, "paid")), len(_of_type(events, "payment_failed"))
    return {"paid": Exact(paid), "failed": Exact(failed), "success_rate": Close(_ratio(paid, paid + failed))}


def _order_processing(events: list[Event], _: int) -> Values:
    durations = tuple(sorted(event["processing_ms"] for event in events))
    return {"p50_ms": Rank(durations, 0.5), "p95_ms": Rank(durations, 0.95), "orders": Exact(len(events))}


def _all(_: Event) -> bool:
    return True


def _types(*event_types: str) -> Callable[[Event], bool]:
    return lambda event: event["event_type"] in event_types


def _has(name: str) -> Callable[[Event], bool]:
    return lambda event: event.get(name) is not None


METRICS: dict[str, OracleMetric] = {
    "device_access": OracleMetric("access", ("device_id",), _all, _device_access),
    "device_energy": OracleMetric("telemetry", ("device_id",), _all, _device_energy),
    "page_views": OracleMetric("clickstream", ("category",), _types("page_view"), _page_views),
    "active_users": OracleMetric("clickstream", (), _all, _active_users),
    "revenue": OracleMetric("clickstream", ("category",), _types("purchase"), _revenue),
    "top_products": OracleMetric("clickstream", ("product_id",), _has("product_id"), _top_products),
    "funnel": OracleMetric("clickstream", ("category",), _all, _funnel),
    "geo": OracleMetric("clickstream", ("country",), _all, _geo),
    "order_status": OracleMetric("orders", ("event_type", "region"), _all, _order_status),
    "payment_success": OracleMetric("orders", ("payment_method",), _types("paid", "payment_failed"), _payment_success),
    "order_processing": OracleMetric("orders", ("region",), _has("processing_ms"), _order_processing),
}
