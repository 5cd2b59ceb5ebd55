"""The oracle itself, against numbers worked out by hand."""

from typing import Any

import pytest

from tests.oracle import METRICS, Close, Distinct, Exact, Rank, mismatches, points

Event = dict[str, Any]


def access(at: str, device: str, count: int, user: str = "u") -> Event:
    return {"timestamp": f"2026-01-01T{at}", "device_id": device, "access_count": count, "user_id": user}


def exact(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.value for name, value in values.items()}


def test_a_window_is_half_open_and_zones_do_not_matter() -> None:
    events = [access("00:00:00Z", "a", 2), access("00:09:59.999999Z", "a", 4), access("01:10:00+01:00", "a", 9)]
    found = points("device_access", events, 600, ["device_id"], {})
    assert {key: exact(values) for key, values in found.items()} == {
        (1767225600, ("a",)): {"avg_access": 3.0, "total_users": 2},
        (1767226200, ("a",)): {"avg_access": 9.0, "total_users": 1},
    }


def test_a_dimension_not_asked_for_is_rolled_up() -> None:
    events = [access("00:00:00Z", "a", 2), access("00:00:00Z", "b", 4), access("00:00:01Z", "b", 4)]
    (values,) = points("device_access", events, 600, [], {}).values()
    assert exact(values) == {"avg_access": 10 / 3, "total_users": 3}
    (values,) = points("device_access", events, 600, [], {"device_id": "b"}).values()
    assert exact(values) == {"avg_access": 4.0, "total_users": 2}
    with pytest.raises(KeyError):
        points("device_access", events, 600, ["user_id"], {})


def test_energy_is_mean_power_times_hours() -> None:
    events = [
        {"timestamp": "2026-01-01T00:00:00Z", "device_id": "a", "metrics": {"power_w": power}}
        for power in (100.0, 300.0)
    ]
    (values,) = points("device_energy", events, 1800, ["device_id"], {}).values()
    assert exact(values) == {"avg_power_w": 200.0, "max_power_w": 300.0, "sum_energy_wh": 100.0}


def click(event_type: str, category: str = "books", **more: Any) -> Event:
    return {
        "timestamp": "2026-01-01T00:00:00Z", "event_type": event_type, "category": category,
        "user_id": "u1", "country": "DE", **more,
    }  # fmt: skip


def test_the_clickstream_by_hand() -> None:
    events = [
        click("page_view", product_id="p1"),
        click("page_view"),
        click("click", product_id="p1"),
        click("purchase", product_id="p1", amount_cents=1000),
        click("purchase", product_id="p2", amount_cents=None),
        click("search", "toys", user_id="u2"),
    ]

    def only(metric: str, dims: list[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
        return {key[1]: exact(values) for key, values in points(metric, events, 600, dims, {}).items()}

    assert only("page_views", ["category"]) == {("books",): {"views": 2}}
    assert only("active_users", []) == {(): {"active_users": 2}}
    assert only("revenue", ["category"]) == {
        ("books",): {"revenue_cents": 1000, "purchases": 2, "average_order_cents": 500.0}
    }
    assert only("top_products", ["product_id"]) == {
        ("p1",): {"views": 1, "purchases": 1, "revenue_cents": 1000},
        ("p2",): {"views": 0, "purchases": 1, "revenue_cents": 0},
    }
    assert only("funnel", ["category"]) == {
        ("books",): {"views": 2, "clicks": 1, "purchases": 2, "conversion_rate": 1.0},
        ("toys",): {"views": 0, "clicks": 0, "purchases": 0, "conversion_rate": None},
    }
    assert only("geo", ["country"]) == {("DE",): {"events": 6, "users": 2}}


def order(event_type: str, processing_ms: int | None = None) -> Event:
    return {
        "timestamp": "2026-01-01T00:00:00Z", "event_type": event_type, "region": "eu",
        "payment_method": "card", "processing_ms": processing_ms,
    }  # fmt: skip


def test_orders_by_hand() -> None:
    events = [order("created"), order("paid", 10), order("paid", 20), order("payment_failed", 30), order("shipped", 40)]
    status = points("order_status", events, 600, ["event_type", "region"], {})
    assert exact(status[1767225600, ("paid", "eu")]) == {"orders": 2}
    (values,) = points("payment_success", events, 600, ["payment_method"], {}).values()
    assert exact(values) == {"paid": 2, "failed": 1, "success_rate": 2 / 3}
    (values,) = points("order_processing", events, 600, ["region"], {}).values()
    assert exact(values) == {"p50_ms": 20, "p95_ms": 40, "orders": 4}


def test_what_each_kind_of_value_accepts() -> None:
    assert Exact(1).accepts(1)
    assert not any(Exact(1).accepts(wrong) for wrong in (True, 1.0, 2, None))
    assert Close(1.0).accepts(1.0 + 1e-10)
    assert not any(Close(1.0).accepts(wrong) for wrong in (1.0 + 1e-8, None, "1"))
    assert Close(None).accepts(None)
    assert Distinct(1000).accepts(1020)
    assert not Distinct(10).accepts(11)
    assert Rank(tuple(range(1000)), 0.5).accepts(505)
    assert not Rank(tuple(range(1000)), 0.5).accepts(520)
    assert not Rank((5.0, 6.0), 0.95).accepts(7.0)


def test_every_difference_is_named() -> None:
    expected = points(
        "device_access", [access("00:00:00Z", "a", 2), access("00:00:00Z", "b", 2)], 600, ["device_id"], {}
    )
    right = {"start": "2026-01-01T00:00:00Z", "dims": {"device_id": "a"}, "values": {"avg_access": 2, "total_users": 1}}
    stray = {**right, "dims": {"device_id": "c"}}
    wrong = {**right, "dims": {"device_id": "b"}, "values": {"avg_access": 2, "total_users": 2}}
    assert mismatches([right, {**wrong, "values": right["values"]}], expected, ["device_id"]) == []
    found = mismatches([right, right, stray, wrong], expected, ["device_id"])
    assert [line.split(": ", 1)[1] for line in found] == ["twice", "should not be", "total_users is 2 instead of 1"]
    assert len(mismatches([], expected, ["device_id"])) == 2


def test_every_metric_has_a_contract() -> None:
    assert {metric.contract for metric in METRICS.values()} == {"access", "telemetry", "clickstream", "orders"}
