"""What a run sends: events of its contract, faults in their shares, and a ledger that is exactly right."""

from collections import Counter
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise

import orjson
import pytest

from data.faults import Faults
from data.stream import PACKS, Kind, Sent, sent_records
from data.traffic import Traffic
from quality.record_check import check_record
from tests.packs import PACKED_CONTRACTS

START_MS = 1_767_225_600_000
NOW = datetime(2026, 1, 3, tzinfo=UTC)
FAULTS = Faults(late=0.1, duplicates=0.1, invalid=0.2, anomalies=0.05)
EVERY_PACK = pytest.mark.parametrize("pack", sorted(PACKS))


@cache
def sent(pack: str, faults: Faults = FAULTS, seed: int = 1, rate: float = 100, seconds: float = 60) -> list[Sent]:
    traffic = Traffic(pack, rate, seconds, seed, START_MS, None, faults)
    return list(sent_records(traffic, PACKED_CONTRACTS[pack].newest))


@EVERY_PACK
def test_every_event_of_the_ledger_is_valid_and_every_broken_record_is_not(pack: str) -> None:
    for record in sent(pack):
        checked = check_record(PACKED_CONTRACTS[pack], record.raw, NOW)
        assert bool(checked.reasons) == (record.kind is Kind.INVALID), (record.raw[:300], checked.reasons)


@EVERY_PACK
def test_the_ledger_is_distinct_and_duplicates_are_exact_and_soon(pack: str) -> None:
    first: dict[bytes, int] = {}
    for record in sent(pack):
        if record.kind is Kind.DUPLICATE:
            assert record.at_ms - first[record.raw] <= 60_000
        elif record.in_ledger:
            assert record.raw not in first
            first[record.raw] = record.at_ms
    assert len({orjson.loads(raw)["event_id"] for raw in first}) == len(first)


@EVERY_PACK
def test_faults_come_in_their_shares_and_slots_are_never_lost(pack: str) -> None:
    kinds = Counter(record.kind for record in sent(pack))
    assert kinds.total() == 6000
    for kind, share in {Kind.LATE: 0.1, Kind.DUPLICATE: 0.1, Kind.INVALID: 0.2, Kind.ANOMALY: 0.05}.items():
        assert kinds[kind] / 6000 == pytest.approx(share, abs=0.02)


@EVERY_PACK
def test_records_are_due_in_order_and_events_bear_the_time_they_are_due(pack: str) -> None:
    run = sent(pack)
    assert all(before.at_ms <= after.at_ms for before, after in pairwise(run))
    assert START_MS <= run[0].at_ms <= run[-1].at_ms < START_MS + 60_000
    for record in run:
        if record.kind is Kind.EVENT:
            assert event_ms(record) == record.at_ms


def test_late_events_are_mostly_later_than_the_contract_waits() -> None:
    delays_s = [(record.at_ms - event_ms(record)) / 1000 for record in sent("access") if record.kind is Kind.LATE]
    assert all(0 <= delay <= 51 * 3600 for delay in delays_s)
    assert sum(delay > 600 for delay in delays_s) / len(delays_s) > 0.75
    assert any(delay <= 600 for delay in delays_s)


@EVERY_PACK
def test_the_seed_decides_all(pack: str) -> None:
    traffic = Traffic(pack, 100, 60, 1, START_MS, None, FAULTS)
    assert list(sent_records(traffic, PACKED_CONTRACTS[pack].newest)) == sent(pack)
    other = {record.raw for record in sent(pack, seed=2) if record.in_ledger}
    assert not other & {record.raw for record in sent(pack)}


def test_broken_records_break_in_many_ways() -> None:
    reasons = Counter(
        reason
        for pack in PACKS
        for record in sent(pack, Faults(invalid=1.0))
        for reason in check_record(PACKED_CONTRACTS[pack], record.raw, NOW).reasons
    )
    assert {reason.split(":")[1] for reason in reasons} >= {
        "missing", "type", "overflow", "length", "matches", "between", "in", "format", "future", "unknown",
        "not_utf8", "malformed_json", "not_an_object", "lone_surrogate", "too_large",
    }  # fmt: skip


def event_ms(record: Sent) -> int:
    return round(datetime.fromisoformat(orjson.loads(record.raw)["timestamp"]).timestamp() * 1000)
