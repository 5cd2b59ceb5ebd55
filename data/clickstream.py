"""Pack `clickstream`: visitors of a shop. A session browses, clicks, sometimes buys; busiest in the evening."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from data.draws import skewed, table
from data.traffic import Rhythm, Slot

KEYS = 200
"""Products, unless the caller says otherwise; there are ten times as many visitors."""
RHYTHM = Rhythm(
    hours=(3, 2, 1, 1, 1, 1, 2, 4, 5, 6, 6, 7, 8, 7, 6, 6, 6, 7, 9, 11, 12, 11, 8, 5),
    days=(8, 8, 8, 9, 9, 11, 12),
)
_CATEGORIES = ("books", "toys", "garden", "home & living", "électronique", "sports: outdoor", "")
_COUNTRIES = table(("DE", "US", "FR", "GB", "JP", "BR", "São Tomé"), (30, 28, 14, 12, 8, 6, 2))
_DEVICES = table(("mobile", "desktop", "tablet"), (58, 34, 8))
_REFERRERS = ("https://search.example/?q=gift", "https://news.example/", None)
_AGENTS = {"mobile": "Browser/12 (Phone)", "desktop": "Browser/12 (Desktop)", "tablet": "Browser/11 (Tablet)"}
_OPEN_SESSIONS = 5000
_NEW_SESSION = 0.15

Step = tuple[str, int | None]


@dataclass(slots=True)
class Session:
    """A visit under way: what is the same in all its events, and the steps still to come, last one first."""

    constant: dict[str, Any]
    steps: list[Step]


def generate(rng: Random, slots: Iterator[Slot], keys: int = KEYS) -> Iterator[dict[str, Any]]:
    """One event per slot: a new visitor's first page, or the next step of a visit under way."""
    products = skewed(range(1, keys + 1))
    under_way: list[Session] = []
    random = rng.random
    for event_id, _, timestamp in slots:
        if not under_way or (random() < _NEW_SESSION and len(under_way) < _OPEN_SESSIONS):
            under_way.append(_visit(rng, event_id, products, keys * 10))
        place = int(random() * len(under_way))
        session = under_way[place]
        step = session.steps.pop()
        if not session.steps:
            under_way[place] = under_way[-1]
            under_way.pop()
        yield {"event_id": event_id, "timestamp": timestamp, **session.constant, **_describe(step, random())}


def spike(event: dict[str, Any], rng: Random) -> None:
    """A purchase of absurd size, or a robot in place of a visitor; still within the contract."""
    if event["event_type"] == "purchase":
        event["amount_cents"] *= rng.randint(100, 10_000)
    else:
        event["user_agent"] = "robot/" + "9" * rng.randint(1, 500)


def _visit(rng: Random, event_id: str, products: list[int], users: int) -> Session:
    random = rng.random
    device, user = _DEVICES[int(random() * len(_DEVICES))], int(random() * users)
    constant = {
        "user_id": f"u-{user}",
        "session_id": f"s-{event_id}",
        "device_type": device,
        "user_agent": _AGENTS[device],
        "ip_address": f"198.51.{user // 256 % 256}.{user % 256}",
        "referrer": _REFERRERS[int(random() * 3)],
        "country": _COUNTRIES[int(random() * len(_COUNTRIES))],
    }
    return Session(constant, _plan(rng, products))


def _plan(rng: Random, products: list[int]) -> list[Step]:
    """The steps of a visit, last one first: pages, clicks on some of them, a purchase of what was clicked last."""
    random = rng.random
    steps: list[Step] = [("search" if random() < 0.3 else "page_view", None)]
    clicked: int | None = None
    while random() < 0.75:
        product = products[int(random() * len(products))]
        steps.append(("page_view", product))
        if random() < 0.45:
            clicked = product
            steps.append(("click", product))
    if clicked is not None and random() < 0.3:
        steps.append(("purchase", clicked))
    steps.reverse()
    return steps


def _describe(step: Step, chance: float) -> dict[str, Any]:
    event_type, product = step
    if product is None:
        page = "/search?q=lamp" if event_type == "search" else "/"
        category = _CATEGORIES[int(chance * len(_CATEGORIES))]
        return {"event_type": event_type, "page_url": f"https://shop.example{page}", "category": category}
    described = {
        "event_type": event_type,
        "page_url": f"https://shop.example/p/{product}",
        "product_id": f"p-{product}",
        "category": _CATEGORIES[product % len(_CATEGORIES)],
    }
    if event_type == "purchase":
        return {**described, "amount_cents": (product * 37 % 9900 + 99) * (1 + int(chance * 3))}
    return {**described, "custom_properties": {"variant": "b" if chance < 0.5 else "a"}} if chance < 0.2 else described
