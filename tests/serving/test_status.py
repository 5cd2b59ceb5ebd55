"""`tidemark status`: counts that add up, from real Delta tables and a real Redis."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cli.main import main
from intake.source import open_source
from tests.packs import SHIPPED
from tests.serving.stage import UTC_US, Stage, ask, at, instant
from tests.serving.test_answers import straddling
from tidemark import keys

ARRIVED = datetime(2026, 1, 2, tzinfo=UTC)


def arrival(offset: int, name: str, minute: str = "00:00", count: int = 1) -> dict[str, Any]:
    return {
        "raw": "{}",
        "received_at": ARRIVED,
        "source": "segment",
        "source_partition": 0,
        "source_offset": offset,
        "contract_version": 1,
        "event_id": name,
        "timestamp": datetime.fromtimestamp(at(minute), UTC),
        "device_id": "d",
        "user_id": "u",
        "access_count": count,
        "ingest_date": ARRIVED.date(),
    }


def fill_lake(stage: Stage) -> None:
    """Six arrivals: a, a again, a with another payload, b, c, one refused; the conflict row is the third again."""
    rows = [arrival(1, "a"), arrival(2, "a"), arrival(3, "a", count=9)]
    rows += [arrival(4, "b", "00:01"), arrival(5, "c", "00:50")]
    for row in rows:
        row["received_at"] = pa.scalar(row["received_at"], UTC_US).as_py()
    write_deltalake(stage.tables.bronze_events("access"), pa.Table.from_pylist(rows))
    refused = [{"raw": "x", "stage": "contract"}, {"raw": "y", "stage": "conflict"}]
    write_deltalake(stage.tables.bronze_quarantine("access"), pa.Table.from_pylist(refused))


def status(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["status", "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_received_is_valid_plus_quarantined_plus_duplicates(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    fill_lake(stage)
    access = status(capsys)["contracts"]["access"]
    assert (access["received"], access["valid"], access["quarantined"], access["duplicates"]) == (6, 3, 2, 1)
    assert access["received"] == access["valid"] + access["quarantined"] + access["duplicates"]
    assert (access["late"], access["lag_seconds"]) == (0, 0)


def test_late_is_what_speed_did_not_accept_below_the_watermark(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_lake(stage)
    stage.stream({}, watermark=at("00:40"))
    stage.client.hset(keys.accepted("access"), mapping={str(at("00:00")): 1})
    assert status(capsys)["contracts"]["access"]["late"] == 1
    stage.client.hset(keys.accepted("access"), mapping={str(at("00:01")): 1})
    assert status(capsys)["contracts"]["access"]["late"] == 0


def test_the_minute_of_the_watermark_may_still_grow_and_is_not_late(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_lake(stage)
    stage.stream({}, watermark=at("00:01"))
    stage.client.hset(keys.accepted("access"), mapping={str(at("00:00")): 2})
    assert status(capsys)["contracts"]["access"]["late"] == 0


def test_minutes_that_a_batch_has_settled_are_read_from_the_ledger(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    fill_lake(stage)
    stage.stream({}, watermark=at("00:40"))
    minutes = [
        {"contract": "access", "minute": at(m), "valid": 1, "accepted": n} for m, n in (("00:00", 1), ("00:01", 0))
    ]
    write_deltalake(stage.tables.late, pa.Table.from_pylist(minutes))
    assert status(capsys)["contracts"]["access"]["late"] == 1


def test_lag_is_the_age_of_the_oldest_record_not_taken(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    source = open_source(stage.settings, SHIPPED.contracts["access"].newest)
    source.append([b"{}"])
    time.sleep(0.2)
    assert 0.2 <= status(capsys)["contracts"]["access"]["lag_seconds"] < 30
    stage.stream({}, position=source.end_position())
    assert status(capsys)["contracts"]["access"]["lag_seconds"] > 0
    text = stage.client.get(keys.progress("access", "exact"))
    stage.client.set(keys.progress("access", keys.LAKE_LANE), text)  # type: ignore[arg-type]
    assert status(capsys)["contracts"]["access"]["lag_seconds"] == 0


def test_a_metric_tells_its_publication_and_newest_parity(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    straddling(stage)
    rows = [
        {
            "metric": "device_access",
            "version": version,
            "window": window,
            "windows": version,
            "mismatched": 0,
            "max_relative_error": 0.5,
        }
        for version in (1, 2)
        for window in ("10m", "30m")
    ]
    write_deltalake(stage.tables.parity, pa.Table.from_pylist(rows))
    metrics = status(capsys)["metrics"]
    assert metrics["device_access"] == {
        "sealed_through": instant("00:30"),
        "version": 1,
        "gate": "passed",
        "parity": {"windows": 4, "mismatched": 0, "max_relative_error": 0.5},
    }
    assert metrics["revenue"]["version"] == 0


def test_the_gate_is_that_of_the_last_batch_also_when_it_published_nothing(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    straddling(stage)
    rows = [
        {"batch_id": str(day), "checked_at": datetime(2026, 1, day, tzinfo=UTC), "name": name, "passed": passed}
        for day, name, passed in ((1, "device_access", True), (2, "access", False), (2, "telemetry", True))
    ]
    write_deltalake(stage.tables.gates, pa.Table.from_pylist(rows))
    metrics = status(capsys)["metrics"]
    assert (metrics["device_access"]["gate"], metrics["device_energy"]["gate"]) == ("failed", "passed")


def test_struct_and_map_columns_tell_payloads_apart(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = pa.schema(
        [
            ("received_at", UTC_US),
            ("source", pa.string()),
            ("source_partition", pa.int32()),
            ("source_offset", pa.int64()),
            ("event_id", pa.string()),
            ("timestamp", UTC_US),
            ("custom_properties", pa.map_(pa.string(), pa.string())),
            ("amount_cents", pa.int64()),
        ]
    )
    given = [[("a", "1"), ("b", "2")], [("b", "2"), ("a", "1")], [("a", "1"), ("b", "3")]]
    rows = [
        {
            "received_at": ARRIVED,
            "source": "s",
            "source_partition": 0,
            "source_offset": offset,
            "event_id": "e",
            "timestamp": ARRIVED,
            "custom_properties": properties,
            "amount_cents": None,
        }
        for offset, properties in enumerate(given)
    ]
    write_deltalake(stage.tables.bronze_events("clickstream"), pa.Table.from_pylist(rows, schema=kinds))
    meters = pa.schema([*list(kinds)[:6], ("metrics", pa.struct([("power_w", pa.float64())]))])
    watts = [
        {
            "received_at": ARRIVED,
            "source": "s",
            "source_partition": 0,
            "source_offset": offset,
            "event_id": "e",
            "timestamp": ARRIVED,
            "metrics": {"power_w": power},
        }
        for offset, power in enumerate([1.5, 1.5, 2.5])
    ]
    write_deltalake(stage.tables.bronze_events("telemetry"), pa.Table.from_pylist(watts, schema=meters))
    for contract in ("clickstream", "telemetry"):
        counted = status(capsys)["contracts"][contract]
        assert (counted["valid"], counted["duplicates"], counted["quarantined"]) == (1, 1, 1)


def test_without_json_it_is_a_table_for_people(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    fill_lake(stage)
    assert main(["status"]) == 0
    assert "access" in capsys.readouterr().out


def test_a_metric_that_the_stream_has_set_aside_says_so_everywhere(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.stream({}, families={}, failed={"device_access": "SparkRuntimeException: [CAST_INVALID_INPUT]"})
    metrics = status(capsys)["metrics"]
    assert metrics["device_access"]["failure"] == "SparkRuntimeException: [CAST_INVALID_INPUT]"
    assert "failure" not in metrics["revenue"]
    with stage.api() as client:
        document = ask(client).json()
        exported = client.get("/metrics").text
        assert client.get("/health/ready").status_code == 200, "the other metrics can be served"
    assert (document["complete"], document["points"]) == (False, [])
    assert [gap["reason"] for gap in document["missing"]] == ["metric_failed"]
    assert 'tidemark_metric_failed{metric="device_access"} 1.0' in exported
    assert 'tidemark_metric_failed{metric="revenue"} 0.0' in exported
