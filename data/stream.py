"""The records of a run as they are sent: a pack's events with faults injected, in the order of sending.

Every slot of the traffic carries one record: an event, a late one (sent now, its time long past), an exact re-send of
a recent one, or one that breaks the contract. `N x S` records are sent in all, and the ledger is exactly those that
are neither re-sent nor broken: distinct and valid.
"""

from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from random import Random
from typing import Any, NamedTuple, Protocol

import orjson

from data import access, clickstream, orders, telemetry
from data.broken import break_record
from data.faults import Faults
from data.traffic import Rhythm, Slot, Traffic, iso_ms, slots
from tidemark.contracts import Contract
from tidemark.errors import UserError


class Kind(StrEnum):
    """What a record is. All but DUPLICATE and INVALID are in the ledger."""

    EVENT = "event"
    LATE = "late"
    ANOMALY = "anomaly"
    DUPLICATE = "duplicate"
    INVALID = "invalid"


class Sent(NamedTuple):
    """One record, when it is to be sent (epoch ms), and what it is."""

    at_ms: int
    raw: bytes
    kind: Kind

    @property
    def in_ledger(self) -> bool:
        return self.kind is not Kind.DUPLICATE and self.kind is not Kind.INVALID


class Pack(Protocol):
    """What a pack's module has."""

    KEYS: int
    RHYTHM: Rhythm
    generate: Callable[..., Iterator[dict[str, Any]]]
    spike: Callable[[dict[str, Any], Random], None]


PACKS: dict[str, Any] = {"access": access, "clickstream": clickstream, "orders": orders, "telemetry": telemetry}
_LATEST_S = 48 * 3600
_STILL_IN_TIME = 0.15
_RESEND_WITHIN_S = 5.0


def open_pack(name: str) -> Pack:
    """The pack of that name; UserError lists those there are."""
    try:
        pack: Pack = PACKS[name]
    except KeyError:
        raise UserError(f"unknown pack {name!r}; known: {', '.join(PACKS)}") from None
    return pack


def sent_records(traffic: Traffic, contract: Contract) -> Iterator[Sent]:
    """All records of a run. The faults draw from a generator of their own: the events stay alike with and without."""
    pack = open_pack(traffic.pack)
    places = _Places(slots(traffic, pack.RHYTHM))
    events = pack.generate(Random(f"{traffic.pack} {traffic.seed}"), places, traffic.keys or pack.KEYS)
    return _inject(traffic, pack, contract, places, events)


class _Places(Iterator[Slot]):
    """The slots of a run, drawn by the pack's generator and by the faults alike; remembers the one drawn last."""

    def __init__(self, places: Iterator[Slot]) -> None:
        self._places = places
        self.last: Slot

    def __next__(self) -> Slot:
        self.last = next(self._places)
        return self.last


def _inject(
    traffic: Traffic, pack: Pack, contract: Contract, places: _Places, events: Iterator[dict[str, Any]]
) -> Iterator[Sent]:
    """One record per slot. A slot that carries a re-send is drawn here; any other by `events`, in its place."""
    rng, faults = Random(f"faults {traffic.seed}"), traffic.faults
    random, dumps = rng.random, orjson.dumps
    recent: deque[bytes] = deque(maxlen=max(1, min(5000, int(traffic.rate * _RESEND_WITHIN_S))))
    harmed_to = faults.duplicates + faults.invalid + faults.late + faults.anomalies
    while True:
        chance = random()
        if chance < faults.duplicates and recent:
            if next(places, None) is None:
                return
            yield Sent(places.last.at_ms, recent[int(random() * len(recent))], Kind.DUPLICATE)
            continue
        event = next(events, None)
        if event is None:
            return
        at_ms = places.last.at_ms
        if chance < harmed_to:
            sent = _harm(event, at_ms, _fault(faults, chance), pack, contract, rng)
        else:
            sent = Sent(at_ms, dumps(event), Kind.EVENT)
        if faults.duplicates and sent.kind is not Kind.INVALID:
            recent.append(sent.raw)
        yield sent


def _fault(faults: Faults, chance: float) -> Kind:
    """Which fault a draw below the sum of the shares stands for."""
    if chance < faults.duplicates:
        return Kind.EVENT  # nothing to send again yet
    if chance < faults.duplicates + faults.invalid:
        return Kind.INVALID
    return Kind.LATE if chance < faults.duplicates + faults.invalid + faults.late else Kind.ANOMALY


def _harm(event: dict[str, Any], at_ms: int, kind: Kind, pack: Pack, contract: Contract, rng: Random) -> Sent:
    if kind is Kind.INVALID:
        return Sent(at_ms, break_record(event, contract, rng), kind)
    if kind is Kind.LATE:
        event[contract.event_time] = iso_ms(at_ms - _delay_ms(rng, contract.late_after_s))
    elif kind is Kind.ANOMALY:
        pack.spike(event, rng)
    return Sent(at_ms, orjson.dumps(event), kind)


def _delay_ms(rng: Random, late_after_s: int) -> int:
    """Mostly later than the contract waits, up to two days; some just out of order."""
    if rng.random() < _STILL_IN_TIME:
        return int(rng.random() * late_after_s * 1000)
    return int(late_after_s * 1000 * (max(2.0, _LATEST_S / late_after_s) ** rng.random()) * 1.05)
