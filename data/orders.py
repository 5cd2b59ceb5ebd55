"""Pack `orders`: orders through their life. created → paid or payment_failed (tried again, or given up) → shipped →
delivered; some are cancelled on the way. Steps that the shop worked on carry how long that took."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from data.draws import log_normal_ms, skewed, table
from data.traffic import Rhythm, Slot

KEYS = 150
"""Products, unless the caller says otherwise; there are ten times as many customers."""
RHYTHM = Rhythm(
    hours=(2, 1, 1, 1, 1, 2, 3, 5, 7, 8, 9, 10, 11, 10, 9, 9, 9, 10, 11, 11, 10, 8, 6, 4),
    days=(9, 9, 9, 9, 10, 10, 8),
)
_METHODS = table(("card", "paypal", "invoice", "überweisung"), (55, 25, 15, 5))
_REGIONS = table(("eu-central", "eu-west", "us-east", "ap-south"), (40, 25, 25, 10))
_REGION_PACE = {"eu-central": 1.0, "eu-west": 1.2, "us-east": 0.8, "ap-south": 2.1}
_STEP_MEDIAN_MS = {"paid": 900.0, "payment_failed": 2_500.0, "shipped": 5_400_000.0, "delivered": 90_000_000.0}
_LONGEST_MS = 31_536_000_000
_OPEN_ORDERS = 20_000
_NEW_ORDER = 0.3


@dataclass(slots=True)
class Order:
    """An order under way: what is the same in all its events, and the step that comes next."""

    constant: dict[str, Any]
    next_step: str


def generate(rng: Random, slots: Iterator[Slot], keys: int = KEYS) -> Iterator[dict[str, Any]]:
    """One event per slot: a new order, or the next step of one under way."""
    products = skewed(range(1, keys + 1))
    under_way: list[Order] = []
    random = rng.random
    for event_id, _, timestamp in slots:
        if not under_way or (random() < _NEW_ORDER and len(under_way) < _OPEN_ORDERS):
            under_way.append(_new_order(rng, event_id, products, keys * 10))
        place = int(random() * len(under_way))
        order = under_way[place]
        step = order.next_step
        order.next_step = _after(step, random())
        if not order.next_step:
            under_way[place] = under_way[-1]
            under_way.pop()
        event = {"event_id": event_id, "timestamp": timestamp, "event_type": step, **order.constant}
        if step in _STEP_MEDIAN_MS:
            median_ms = _STEP_MEDIAN_MS[step] * _REGION_PACE[event["region"]]
            event["processing_ms"] = min(_LONGEST_MS, log_normal_ms(rng, median_ms, 0.6))
        yield event


def spike(event: dict[str, Any], rng: Random) -> None:
    """A wholesale order, or a step that hung; still within the contract."""
    if "processing_ms" in event:
        event["processing_ms"] = min(_LONGEST_MS, event["processing_ms"] * rng.randint(20, 200))
    else:
        factor = rng.randint(50, 500)
        event["quantity"] *= factor
        event["amount_cents"] *= factor


def _new_order(rng: Random, event_id: str, products: list[int], customers: int) -> Order:
    random = rng.random
    product, quantity = products[int(random() * len(products))], 1 + int(random() ** 3 * 5)
    constant = {
        "order_id": f"o-{event_id}",
        "customer_id": f"c-{int(random() * customers)}",
        "product_id": f"p-{product}",
        "quantity": quantity,
        "amount_cents": (product * 41 % 19_900 + 199) * quantity,
        "payment_method": _METHODS[int(random() * len(_METHODS))],
        "region": _REGIONS[int(random() * len(_REGIONS))],
    }
    return Order(constant, "created")


def _after(step: str, chance: float) -> str:
    """The step that follows; empty when the order's life is over."""
    if step in ("created", "payment_failed"):
        given_up = 0.03 if step == "created" else 0.4
        return "cancelled" if chance < given_up else "payment_failed" if chance < given_up + 0.12 else "paid"
    if step == "paid":
        return "cancelled" if chance < 0.04 else "shipped"
    return "delivered" if step == "shipped" else ""
