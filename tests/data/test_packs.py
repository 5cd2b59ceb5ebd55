"""The shape of the traffic: rhythms of day and week, sessions, profiles, order life cycles."""

from collections import Counter, defaultdict
from functools import cache
from typing import Any

import orjson

from data.access import RHYTHM
from data.faults import Faults
from data.stream import sent_records
from data.traffic import Traffic, slots
from tests.packs import PACKED_CONTRACTS

MONDAY_MS = 1_767_571_200_000
DAY_S = 86_400


@cache
def events(pack: str, rate: float, seconds: float) -> list[dict[str, Any]]:
    traffic = Traffic(pack, rate, seconds, 3, MONDAY_MS, None, Faults())
    return [orjson.loads(record.raw) for record in sent_records(traffic, PACKED_CONTRACTS[pack].newest)]


def test_traffic_follows_the_hour_and_the_weekday_and_adds_up() -> None:
    hours: Counter[int] = Counter()
    days: Counter[int] = Counter()
    for slot in slots(Traffic("access", 0.1, 7 * DAY_S, 1, MONDAY_MS), RHYTHM):
        hours[(slot.at_ms // 3_600_000) % 24] += 1
        days[(slot.at_ms - MONDAY_MS) // (DAY_S * 1000)] += 1
    assert hours.total() == 60_480
    assert hours[10] > 5 * hours[3]
    assert days[0] > 1.8 * days[6]


def test_the_rate_is_met_within_minutes() -> None:
    times = [slot.at_ms for slot in slots(Traffic("access", 50, 60, 1, MONDAY_MS), RHYTHM)]
    assert len(times) == 3000
    assert times[0] == MONDAY_MS
    assert [
        sum(time // 1000 == second for time in times) for second in range(MONDAY_MS // 1000, MONDAY_MS // 1000 + 60)
    ] == [50] * 60


def test_a_session_clicks_what_it_saw_and_buys_what_it_clicked() -> None:
    sessions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events("clickstream", 100, 100):
        sessions[event["session_id"]].append(event)
    bought = 0
    for steps in sessions.values():
        assert len({(step["user_id"], step["country"], step["device_type"]) for step in steps}) == 1
        seen: dict[str, set[str]] = defaultdict(set)
        for step in steps:
            if step["event_type"] == "click":
                assert step["product_id"] in seen["page_view"]
            if step["event_type"] == "purchase":
                assert step["product_id"] in seen["click"]
                assert step["amount_cents"] > 0
                bought += 1
            seen[step["event_type"]].add(step.get("product_id", ""))
    assert bought > 100


def test_an_order_lives_once_through_its_steps() -> None:
    follows = {
        "created": {"paid", "payment_failed", "cancelled"},
        "payment_failed": {"paid", "payment_failed", "cancelled"},
        "paid": {"shipped", "cancelled"},
        "shipped": {"delivered"},
    }
    last: dict[str, str] = {}
    for event in events("orders", 100, 100):
        before = last.get(event["order_id"])
        step = event["event_type"]
        assert step == "created" if before is None else step in follows[before]
        assert ("processing_ms" in event) == (step in {"paid", "payment_failed", "shipped", "delivered"})
        last[event["order_id"]] = step
    assert set(Counter(last.values())) >= {"delivered", "cancelled"}


def test_devices_draw_power_by_their_profile() -> None:
    power: dict[tuple[str, int], list[float]] = defaultdict(list)
    for event in events("telemetry", 0.5, DAY_S):
        power[event["device_id"].split("-")[0], int(event["timestamp"][11:13])].append(event["metrics"]["power_w"])
    mean = {key: sum(values) / len(values) for key, values in power.items()}
    assert mean["charger", 2] > 5 * mean["charger", 12]
    assert mean["light", 19] > 3 * mean["light", 3]
    assert max(power["fridge", 12]) < 200 < max(power["heatpump", 12])


def test_keys_set_the_number_of_devices() -> None:
    traffic = Traffic("access", 1000, 20, 3, MONDAY_MS, 7, Faults())
    records = sent_records(traffic, PACKED_CONTRACTS["access"].newest)
    assert {orjson.loads(record.raw)["device_id"] for record in records} == {f"dev-{n}" for n in range(1, 8)}
