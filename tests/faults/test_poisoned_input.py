"""Poisoned input: nothing but invalid records, records of 10 MB, nearly all traffic on one key, events of other years.

(R) and (C) hold, and the memory of the stream stays within its bound.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

from data.traffic import iso_ms
from serving.query import Asked
from tests.asking import ask
from tests.faults.memory import PeakMemory
from tests.faults.rig import Event, Rig
from tests.oracle import METRICS, mismatches, points
from tests.oracle.recompute import event_second
from tidemark.windows import WINDOWS, floor_to, iso

pytestmark = [pytest.mark.spark, pytest.mark.fault]
HOUR = 3_600
FIVE_YEARS, ONE_YEAR = 5 * 365 * 24 * HOUR, 365 * 24 * HOUR
LARGE_BYTES = 10_000_000
NOW = floor_to(int(time.time()), HOUR) - 3 * HOUR
"""The hour in which the ordinary events are."""
DRIVER_MIB = 3_584
"""Bound of the stream: a heap of 2 GiB (conf/test.yaml), and what the JVM and Python need besides."""
LARGE_MIB = 6_144
"""The same for many records of 10 MB: two runs took 3,178 and 5,112 MiB."""
Records = list[tuple[bytes, bool]]
"""What is sent, and whether it counts."""


def event(number: int, at_s: float, device: str = "d-0", **more: Any) -> Event:
    found = {"event_id": f"poison-{number:x}", "timestamp": iso_ms(round(at_s * 1000)), "device_id": device}
    return {**found, "user_id": f"u-{number % 97}", "access_count": number % 50, **more}


def ordinary(first: int, count: int, devices: int = 10, start: int = NOW, seconds: int = HOUR) -> Records:
    """Valid events, evenly over the span and the devices."""
    return [
        (orjson.dumps(event(first + n, start + n * seconds / count, f"d-{n % devices}")), True) for n in range(count)
    ]


def large(first: int, count: int, rng: Random) -> Records:
    """Records of 10 MB: a sound event but for its size; the same, incompressible; bytes that are no text."""
    found = []
    for n in range(count):
        kinds = (lambda: b"x" * LARGE_BYTES, lambda: rng.randbytes(LARGE_BYTES // 2).hex().encode())
        if n % 3 < 2:
            body = orjson.dumps(event(first + n, NOW, note="@")).replace(b"@", kinds[n % 3]())
        else:
            body = rng.randbytes(LARGE_BYTES).replace(b"\n", b"\xff").replace(b"\r", b"\xff")
        found.append((body, False))
    return found


def from_other_years(first: int, count: int) -> Records:
    """In turn an event of five years ago, which counts, and one of next year, which does not."""
    ages = (-FIVE_YEARS, ONE_YEAR)
    return [
        (orjson.dumps(event(first + n, NOW + ages[n % 2] + n % HOUR, f"d-{n % 10}")), n % 2 == 0) for n in range(count)
    ]


def on_one_key(first: int, count: int, rng: Random) -> Records:
    """90 % of the events are of one device."""
    return [
        (orjson.dumps(event(first + n, NOW + n * HOUR / count, "hot" if rng.random() < 0.9 else f"d-{n % 1000}")), True)
        for n in range(count)
    ]


def send(rig: Rig, records: Records) -> int:
    """`tidemark ingest`, and the ledger of those that count; how many do not."""
    number = len(rig.ledgers)
    path, ledger = rig.folder / f"poison-{number}.ndjson", rig.folder / f"ledger-poison-{number}.ndjson"
    _write(path, (raw for raw, _ in records))
    _write(ledger, (raw for raw, counts in records if counts))
    rig.ledgers.append(ledger)
    with rig.command("ingest", rig.contract, str(path), "--json") as command:
        assert command.wait(120) == 0, command.text()[-2000:]
    path.unlink()
    return sum(not counts for _, counts in records)


def drain(rig: Rig, most_mib: int = DRIVER_MIB) -> int:
    """`stream --once` to its end; the most memory it took, in MiB, which is within the bound."""
    with rig.stream("--once") as driver, PeakMemory(driver) as peak:
        assert driver.wait(300) == 0, driver.text()[-4000:]
    print(f"stream: {peak.mib} MiB at most {peak.parts}")
    assert 0 < peak.mib < most_mib
    return peak.mib


def seal(rig: Rig, through: int) -> int:
    """A batch to its end; the most memory it took, in MiB."""
    with rig.command("batch", "--through", iso(through), "--json") as batch, PeakMemory(batch) as peak:
        assert batch.wait(300) == 0, batch.text()[-4000:]
    print(f"batch: {peak.mib} MiB at most")
    return peak.mib


def assert_exact(rig: Rig, devices: Iterable[str] | None = None) -> None:
    """(R) in each hour that has events: all groups, or the totals and these devices only."""
    for start, events in _by_hour(rig.events()).items():
        for window in ("10m", "30m"):
            if devices is None:
                _compare(rig, window, start, events, METRICS[rig.metric].dims, {})
                continue
            _compare(rig, window, start, events, (), {})
            for device in devices:
                own = [each for each in events if each["device_id"] == device]
                _compare(rig, window, start, own, (), {"device_id": device})


def assert_kept(rig: Rig, refused: int) -> None:
    """(C), with exactly so many in quarantine, and every source position once."""
    counts = rig.assert_conserved()
    assert counts["quarantined"] == refused, counts
    assert rig.assert_bronze_exact() == counts["received"]


@pytest.mark.long
def test_every_kind_of_poison_at_once(rig: Rig) -> None:
    rng = Random(1)
    refused = send(rig, [*ordinary(0, 2_000), *large(10_000, 3, rng)])
    drain(rig)
    assert_exact(rig)
    poison = [*large(20_000, 3, rng), *from_other_years(30_000, 400), *on_one_key(40_000, 4_000, rng)]
    rng.shuffle(poison)
    refused += send(rig, poison)
    drain(rig)
    seal(rig, NOW + HOUR)
    assert_exact(rig)
    assert_kept(rig, refused)


@pytest.mark.long
def test_nothing_but_invalid_records(rig: Rig) -> None:
    with rig.produce(100, HOUR, 2, "--invalid", "1", start=NOW) as producer:
        assert producer.wait() == 0, producer.text()
    drain(rig)
    assert_kept(rig, 100 * HOUR)
    assert rig.answer("10m", NOW, NOW + HOUR)["points"] == []
    send(rig, ordinary(0, 2_000))
    drain(rig)
    assert_exact(rig)
    seal(rig, NOW + HOUR)
    assert_exact(rig)
    assert_kept(rig, 100 * HOUR)


@pytest.mark.long
def test_many_records_of_10_mb(rig: Rig) -> None:
    rng, refused = Random(3), 0
    for part in range(3):  # 450 MB of them
        records = [*ordinary(part * 1_000, 1_000), *large(100_000 + part * 100, 15, rng)]
        rng.shuffle(records)
        refused += send(rig, records)
    drain(rig, most_mib=LARGE_MIB)
    seal(rig, NOW + HOUR)
    assert_exact(rig)
    assert_kept(rig, refused)


def _by_hour(events: list[Event]) -> dict[int, list[Event]]:
    """The events of each hour that has any, by its start."""
    found: dict[int, list[Event]] = {}
    for each in events:
        found.setdefault(floor_to(event_second(each), HOUR), []).append(each)
    return found


def _compare(
    rig: Rig, window: str, start: int, events: list[Event], by: tuple[str, ...], filters: dict[str, str]
) -> None:
    dims = tuple(f"{name}:{value}" for name, value in filters.items())
    asked = Asked(rig.metric, window, iso(start), iso(start + HOUR), dims, by, None, None, False)
    found = ask(rig.settings, asked)
    assert found["complete"], found["missing"]
    expected = points(rig.metric, events, WINDOWS[window], by, filters)
    wrong = mismatches(found["points"], expected, by)
    assert wrong == [], f"{window} {filters}: {len(wrong)} differences, first {wrong[:5]}"


def _write(path: Path, lines: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(line + b"\n" for line in lines)


@pytest.mark.long
def test_a_million_keys(rig: Rig) -> None:
    """With the heap that ships: with the 2 GiB of the other tests it ran out of it once, beside another suite."""
    rig.environment["TIDEMARK_DRIVER_MEMORY"] = "3g"
    send(rig, ordinary(0, 1_000_000, devices=1_000_000))
    devices = [f"d-{n}" for n in range(0, 1_000_000, 99_999)]
    drain(rig, most_mib=LARGE_MIB)
    assert_exact(rig, devices)
    seal(rig, NOW + HOUR)
    assert_exact(rig, devices)
    assert_kept(rig, 0)
