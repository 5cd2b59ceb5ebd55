"""Seeded events for whole-pipeline truth: ordinary traffic of every pack, made nasty where answers could go wrong."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any

import orjson

from data.faults import Faults
from data.stream import Sent, sent_records
from data.traffic import Traffic
from tests.packs import PACKED_CONTRACTS

NASTY = (
    "",
    "-",
    ":",
    "5:dev-1",
    "a|b",
    "a,b",
    "a\tb",
    "a\nb",
    '"quoted"',
    "back\\slash",
    "{curly}",
    "ключ",
    "日本",
    "💡🏠",
    "e\u0301",
    "é",
    " lead",
    "NULL",
    "null",
    "true",
    "42",
    "-1.5e3",
    "[1]",
    "{}",
    "\u0001",
    "\u2028",
    "#",
    "%s",
    "{0}",
)
"""Dimension values that separators, encodings, template engines and JSON like to trip over."""
_FREE_DIMS = {"clickstream": ("category", "country", "product_id"), "orders": ("region", "payment_method")}
_DEVICES = ("a:b", "dev-1", "dev-10", "dev.1", "-", "1", "true", "_")
_EDGES_US = (0, 1, 599_999_999, 600_000_000, 600_000_001, 1_799_999_999, 1_800_000_000, 59_999_999, 60_000_000)
_ZONES_MIN = (0, 330, -720, 845, -210)


@dataclass(frozen=True, slots=True)
class Corpus:
    """`records`: what is sent, in order, with re-sends and broken ones. `by_record`: the distinct valid events."""

    contract: str
    records: tuple[bytes, ...]
    by_record: dict[bytes, dict[str, Any]]

    @property
    def events(self) -> tuple[dict[str, Any], ...]:
        return tuple(self.by_record.values())

    @property
    def quarantined(self) -> int:
        return len(self.records) - self.duplicates - len(self.by_record)

    @property
    def duplicates(self) -> int:
        """Re-sends of valid events; broken records may be alike without being re-sent."""
        return sum(raw in self.by_record for raw in self.records) - len(self.by_record)


def make_corpus(pack: str, seed: int, start: datetime, rate: float, seconds: float, faults: Faults) -> Corpus:
    """A run of the pack's simulator with faults; about a third of its events are then made nasty, ids kept."""
    traffic = Traffic(pack, rate, seconds, seed, round(start.timestamp() * 1000), keys=12, faults=faults)
    rng = Random(f"nasty {pack} {seed}")
    nasty: dict[bytes, bytes] = {}
    records: list[bytes] = []
    events: dict[bytes, dict[str, Any]] = {}
    for sent in sent_records(traffic, PACKED_CONTRACTS[pack].newest):
        raw = _nasty_once(sent, nasty, pack, start, rng)
        records.append(raw)
        if sent.in_ledger:
            events[raw] = orjson.loads(raw)
    return Corpus(pack, tuple(records), events)


def _nasty_once(sent: Sent, nasty: dict[bytes, bytes], pack: str, start: datetime, rng: Random) -> bytes:
    """The same bytes for a re-send as for its original."""
    if sent.raw not in nasty:
        keep = rng.random() > 0.35 or sent.kind.value in ("invalid", "late")
        nasty[sent.raw] = sent.raw if keep else _nasty(orjson.loads(sent.raw), pack, start, rng)
    return nasty[sent.raw]


def _nasty(event: dict[str, Any], pack: str, start: datetime, rng: Random) -> bytes:
    for name in _FREE_DIMS.get(pack, ()):
        if rng.random() < 0.5:
            value = rng.choice(NASTY)
            event[name] = value if value or name == "category" else "x"
    if "device_id" in event and rng.random() < 0.5:
        event["device_id"] = rng.choice(_DEVICES)
    if "user_id" in event and rng.random() < 0.3:
        event["user_id"] = rng.choice([text for text in NASTY if text])
    if rng.random() < 0.5:
        event["timestamp"] = _edge(datetime.fromisoformat(event["timestamp"]), rng)
    event["not_in_the_contract"] = {"drift": rng.choice(NASTY)}
    return orjson.dumps(event)


def _edge(instant: datetime, rng: Random) -> str:
    """An instant on or beside a window's edge, at most one window back, written in some zone."""
    moment = instant.astimezone(UTC).replace(minute=instant.minute // 10 * 10, second=0, microsecond=0)
    moment += timedelta(microseconds=rng.choice([us for us in _EDGES_US if us < 600_000_000] + [0, 599_999_999]))
    zone = timezone(timedelta(minutes=rng.choice(_ZONES_MIN)))
    text = moment.astimezone(zone).isoformat()
    return text.replace("+00:00", "Z") if rng.random() < 0.5 else text
