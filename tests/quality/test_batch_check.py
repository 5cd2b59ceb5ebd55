"""The batch check says of every record what the record check says, whichever of its two ways a record takes."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from conf.settings import PACKAGED
from data.faults import Faults
from data.stream import PACKS, sent_records
from data.traffic import Traffic
from quality.batch_check import BatchCheck
from quality.quick_check import RECORDS, ROW, QuickCheck, Unsupported
from quality.record_check import check_record
from tests.quality.contracts import V2, everything
from tests.quality.corpus import ARRIVED, corpus
from tidemark.contracts import ContractSet
from tidemark.metrics.registry import load_registry

KEY = "a key of the tests"
REGISTRY = load_registry([PACKAGED], PACKAGED)


def assert_agreement(contract: ContractSet, raws: list[bytes]) -> int:
    """Every record's reasons, version and typed event; gives back how many were valid."""
    received_at = pa.array([ARRIVED] * len(raws), pa.timestamp("us", "UTC"))
    records = pa.RecordBatch.from_pydict({"value": pa.array(raws, pa.binary()), "received_at": received_at})
    rows = BatchCheck(contract).judged(records, KEY).to_pylist()
    assert len(rows) == len(raws)
    differing = []
    for raw, row in zip(raws, rows, strict=True):
        meant = check_record(contract, raw, ARRIVED, KEY)
        event = plain(contract, row) if not row["reasons"] else None
        seen = (tuple(row["reasons"]), row["contract_version"], event)
        if seen != (meant.reasons, meant.contract_version, meant.event):
            differing.append((raw[:200], row, meant))
        assert (row["raw_bytes"] if row["raw"] is None else row["raw"].encode()) == raw
    assert not differing, f"{len(differing)} differ, first: " + "\n".join(map(str, differing[:15]))
    return sum(not row["reasons"] for row in rows)


def plain(contract: ContractSet, row: dict[str, Any]) -> dict[str, Any]:
    """A row's event as the record check gives it."""
    maps = {field.name for field in contract.columns if field.type.kind.startswith("map")}
    return {
        field.name: dict(row[field.name]) if field.name in maps and row[field.name] is not None else row[field.name]
        for field in contract.columns
    }


def certain_rows(contract: ContractSet, raws: list[bytes]) -> set[int]:
    """Numbers of the records that the quick check of the newest version takes."""
    records = pa.table(
        [range(len(raws)), [raw.decode() for raw in raws], pa.array([ARRIVED] * len(raws), RECORDS.types[2])],
        schema=RECORDS,
    )
    return set(QuickCheck(contract.newest, contract, contract.columns).certain(records, KEY)[ROW].to_pylist())


def _is_text(raw: bytes) -> bool:
    return raw.decode(errors="ignore").encode() == raw


def with_decimals(decimal: bytes, raws: list[bytes]) -> list[bytes]:
    """The corpus with other decimals: those with a fraction are beyond the quick check, which then judges nothing."""
    return [raw.replace(b"12.345", decimal).replace(b'"d": 1.5', b'"d": ' + decimal) for raw in raws]


@pytest.mark.parametrize("decimal", [b"12.345", b'"12.3"', b"12"])
def test_both_ways_agree_on_two_versions_side_by_side(tmp_path: Path, decimal: bytes) -> None:
    assert assert_agreement(everything(tmp_path), with_decimals(decimal, corpus())) > 100


def test_both_ways_agree_on_a_single_version(tmp_path: Path) -> None:
    contract = everything(tmp_path, V2)
    raws = with_decimals(b'"12.3"', corpus(mixed=4000, seed=11))
    valid = assert_agreement(contract, raws)
    certain = certain_rows(contract, [raw for raw in raws if _is_text(raw)])
    assert len(certain) > valid / 2, "the quick check was hardly put to the test"


def test_a_few_records_are_judged_alike(tmp_path: Path) -> None:
    raws = corpus(mixed=50)[:60]
    assert assert_agreement(everything(tmp_path), raws) > 3


def test_none_at_all(tmp_path: Path) -> None:
    assert assert_agreement(everything(tmp_path), []) == 0


@pytest.mark.parametrize("pack", PACKS)
def test_ordinary_events_of_a_pack_are_certainly_valid(pack: str) -> None:
    """What the quick check does not know costs ten times as much."""
    contract = REGISTRY.contracts[pack]
    traffic = Traffic(pack, rate=10, seconds=60, seed=5, start_ms=int(ARRIVED.timestamp() - 3600) * 1000)
    raws = [sent.raw for sent in sent_records(traffic, contract.newest)]
    certain = certain_rows(contract, raws)
    left = [raw for row, raw in enumerate(raws) if row not in certain]
    assert left == [], f"{len(left)} of {len(raws)} are judged one by one, first {left[:1]}"


@pytest.mark.parametrize("pack", PACKS)
def test_faulty_traffic_of_a_pack(pack: str) -> None:
    contract = REGISTRY.contracts[pack]
    faults = Faults(late=0.05, duplicates=0.05, invalid=0.2)
    traffic = Traffic(pack, rate=40, seconds=60, seed=6, start_ms=int(ARRIVED.timestamp() - 3600) * 1000, faults=faults)
    raws = [sent.raw for sent in sent_records(traffic, contract.newest)]
    assert 0 < assert_agreement(contract, raws) < len(raws)


BOUNDS = """
name: everything
version: 1
event_time: at
late_after: 90s
key: id
dedupe: id
fields:
  id: {type: string, required: true}
  at: {type: timestamp, required: true}
  whole: {type: long, rules: {between: [-2, 9223372036854775807]}}
  real: {type: double, rules: {between: [0.1, 1.0e+300]}}
  money: {type: "decimal(18,9)", rules: {between: ["-0.1", 12345678]}}
"""


def test_values_on_both_sides_of_a_bound(tmp_path: Path) -> None:
    contract = everything(tmp_path, BOUNDS)
    numbers = ["-3", "-2", "9223372036854775807", "9223372036854775808"]
    numbers += ["0.1", "0.09999999999999999", "1e300", "1.1e300"]
    numbers += ['"-0.1"', '"-0.100000001"', "12345678", '"12345678.1"', "99999999"]
    raws = [
        f'{{"id": "{number}", "at": "2026-01-01T00:00:00Z", "{field}": {value}}}'.encode()
        for number in range(40)
        for field in ("whole", "real", "money")
        for value in numbers
    ]
    assert 0 < assert_agreement(contract, raws) < len(raws)
    assert certain_rows(contract, raws)


def test_what_the_quick_check_cannot_express_is_judged_all_the_same(tmp_path: Path) -> None:
    """RE2 repeats a part a thousand times at the most."""
    pattern = "^[a-z]{0,2000}$"
    contract = everything(tmp_path, f"{BOUNDS}  long: {{type: string, rules: {{matches: '{pattern}'}}}}\n")
    with pytest.raises(Unsupported):
        QuickCheck(contract.newest, contract, contract.columns)
    raws = [f'{{"id": "{n}", "at": "2026-01-01T00:00:00Z", "long": "{"a" * n}"}}'.encode() for n in range(1_500, 2_600)]
    assert assert_agreement(contract, raws) == 501


def test_columns_that_nobody_wants_are_judged_all_the_same() -> None:
    contract = REGISTRY.contracts["access"]
    good = b'{"event_id":"e","timestamp":"2026-01-01T00:00:00Z","device_id":"d","user_id":"u","access_count":1}'
    bad = [good.replace(b'"u"', b"5"), good.replace(b'"d"', b'"d d"'), good.replace(b":1}", b":-1}")]
    values = pa.array([good, *bad] * 300, pa.binary())
    received_at = pa.array([ARRIVED] * len(values), pa.timestamp("us", "UTC"))
    records = pa.RecordBatch.from_pydict({"value": values, "received_at": received_at})
    events = BatchCheck(contract, ("event_id",)).valid(records, KEY)
    assert events.schema.names == ["received_at", "event_id"]
    assert events.num_rows == 300


def test_valid_records_keep_their_order_whichever_way_they_took() -> None:
    """Of two with one id the stream takes the first."""
    contract = REGISTRY.contracts["clickstream"]
    escaped, plain = r"\u0041", "A"
    raws = [
        f'{{"event_id":"{n}","user_id":"u","session_id":"s","event_type":"click","timestamp":"2026-01-01T00:00:00Z",'
        f'"page_url":"/","category":"{escaped if n % 3 else plain}","device_type":"mobile","country":"DE",'
        f'"custom_properties":{{"k{n}":"v"}}}}'.encode()
        for n in range(2_000)
    ]
    received_at = pa.array([ARRIVED] * len(raws), pa.timestamp("us", "UTC"))
    records = pa.RecordBatch.from_pydict({"value": pa.array(raws, pa.binary()), "received_at": received_at})
    events = BatchCheck(contract).valid(records, KEY)
    assert events["event_id"].to_pylist() == [str(n) for n in range(2_000)]
    assert events["custom_properties"].to_pylist() == [[(f"k{n}", "v")] for n in range(2_000)]
    assert set(events["category"].to_pylist()) == {"A"}
