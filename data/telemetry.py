"""Pack `telemetry`: power and voltage of smart-home devices, each with the daily profile of its kind."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from data.traffic import Rhythm, Slot

KEYS = 50
"""Devices, unless the caller says otherwise."""
RHYTHM = Rhythm()
_HOUR_MS = 3_600_000
_LOCATIONS = ("kitchen", "cellar", "garage", "living room", "bath", "Büro", "garden")
_FIRMWARE = ("1.4.2", "1.5.0", "2.0.0-rc1")


@dataclass(frozen=True, slots=True)
class Profile:
    """Mean power in W by hour of the day, how much it varies (relative), and how often the device is off."""

    kind: str
    power_w: Sequence[float]
    spread: float
    off: float


PROFILES = (
    Profile("fridge", (90,) * 24, 0.25, 0.35),
    Profile("heatpump", (1800,) * 6 + (2600,) * 4 + (1200,) * 7 + (2200,) * 5 + (1800,) * 2, 0.15, 0.1),
    Profile("charger", (7200,) * 5 + (400,) * 12 + (3600,) * 5 + (7200,) * 2, 0.05, 0.5),
    Profile("light", (4,) * 6 + (40,) * 3 + (8,) * 8 + (60,) * 6 + (15,), 0.2, 0.2),
    Profile("washer", (0.8,) * 8 + (600,) * 12 + (0.8,) * 4, 0.8, 0.4),
)


def generate(rng: Random, slots: Iterator[Slot], keys: int = KEYS) -> Iterator[dict[str, Any]]:
    """One measurement per slot; devices report in turn, so that each is heard at an even pace."""
    homes = [(f"{profile.kind}-{number}", profile) for number, profile in _devices(keys)]
    random = rng.random
    for turn, (event_id, at_ms, timestamp) in enumerate(slots):
        place = turn % keys
        device_id, profile = homes[place]
        mean_w = profile.power_w[at_ms // _HOUR_MS % 24]
        power_w = 0.0 if random() < profile.off else mean_w * (1 + profile.spread * (2 * random() - 1))
        yield {
            "event_id": event_id,
            "device_id": device_id,
            "timestamp": timestamp,
            "metrics": {"power_w": round(power_w, 2), "voltage_v": round(227 + 6 * random(), 1)},
            "meta": {"firmware": _FIRMWARE[place % 3], "location": _LOCATIONS[place % 7]},
        }


def spike(event: dict[str, Any], rng: Random) -> None:
    """A fault in the house: far more power than the device can take, still within the contract."""
    metrics = event["metrics"]
    metrics["power_w"] = min(100_000.0, round((metrics["power_w"] + 10) * rng.uniform(5, 12), 2))


def _devices(keys: int) -> Iterator[tuple[int, Profile]]:
    for number in range(keys):
        yield number + 1, PROFILES[number % len(PROFILES)]
