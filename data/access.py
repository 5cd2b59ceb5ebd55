"""Pack `access`: what devices counted since their last report. Busy in working hours, quiet at night and weekends."""

from collections.abc import Iterator
from math import log
from random import Random
from typing import Any

from data.draws import skewed
from data.traffic import Rhythm, Slot

KEYS = 100
"""Devices, unless the caller says otherwise."""
RHYTHM = Rhythm(
    hours=(2, 1, 1, 1, 1, 2, 4, 7, 10, 11, 11, 10, 9, 10, 11, 11, 10, 9, 7, 6, 5, 4, 3, 2),
    days=(10, 10, 10, 10, 9, 5, 4),
)
_USERS_PER_DEVICE = 12
_MOST = 1_000_000


def generate(rng: Random, slots: Iterator[Slot], keys: int = KEYS) -> Iterator[dict[str, Any]]:
    """One event per slot. Every device has its own people; a few devices see most of the traffic."""
    devices = skewed([f"dev-{number}" for number in range(1, keys + 1)])
    counts = [int(-log(1 - place / 512) * 4) for place in range(512)]
    random, places = rng.random, len(devices)
    for event_id, _, timestamp in slots:
        device = devices[int(random() * places)]
        user = int(random() * _USERS_PER_DEVICE)
        yield {
            "event_id": event_id,
            "timestamp": timestamp,
            "device_id": device,
            "user_id": f"user-{device[4:]}-{user}",
            "access_count": counts[int(random() * 512)],
            "tenant_id": "acme" if user < 8 else "globex",
        }


def spike(event: dict[str, Any], rng: Random) -> None:
    """A burst of accesses, still within the contract."""
    event["access_count"] = min(_MOST, (event["access_count"] + 1) * rng.randint(50, 5000))
