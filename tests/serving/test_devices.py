"""The routes of the device apps: latest windows, never older than what a new question would give."""

import time

import pytest

from serving.schemas import DeviceKpi, DeviceRealtime
from tests.packs import SHIPPED
from tests.serving.stage import Stage, at, instant
from tests.serving.test_answers import straddling
from tests.serving.test_problems import check_problem
from tidemark import keys
from tidemark.windows import Span


@pytest.fixture
def energy(stage: Stage) -> Stage:
    stage.metric = SHIPPED.metrics["device_energy"]
    return stage


def test_realtime_gives_the_latest_window_from_speed(energy: Stage) -> None:
    energy.seal({600: {(at("00:00"), "d"): (100.0, 1, 100.0)}}, at("00:30"))
    energy.stream({600: {(at("00:40"), "d"): (90.0, 2, 60.0)}}, max_event_time=float(at("00:45")))
    with energy.api() as client:
        reply = client.get("/devices/d/metrics/realtime")
    assert reply.status_code == 200, reply.text
    document = DeviceRealtime.model_validate(reply.json())
    assert (document.source, document.start, document.device_id) == ("speed", instant("00:40"), "d")
    assert document.values == {"avg_power_w": 45.0, "max_power_w": 60.0, "sum_energy_wh": 7.5}


def test_realtime_falls_back_to_batch_also_without_redis(energy: Stage) -> None:
    energy.seal({600: {(at("00:00"), "d"): (100.0, 1, 100.0)}}, at("00:30"))
    with energy.api() as client:
        with_redis = client.get("/devices/d/metrics/realtime").json()
        check_problem(client.get("/devices/unknown/metrics/realtime"), 404, "unknown-device", "device")
    with energy.api(redis_url="redis://127.0.0.1:1/0") as client:
        without = client.get("/devices/d/metrics/realtime").json()
    assert (with_redis["source"], without["source"]) == ("batch", "batch")
    assert without["complete"] is False


def test_kpi_gives_the_latest_windows_of_both_layers(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        document = client.get("/kpi/dev-1/10min").json()
        DeviceKpi.model_validate(document)
        half = client.get("/kpi/dev-1/30min").json()
        check_problem(client.get("/kpi/dev-9/10min"), 404, "unknown-device", "device")
    assert [p["start"] for p in document["points"]] == [instant("00:00"), instant("00:10"), instant("00:30")]
    assert [p["layer"] for p in half["points"]] == ["batch", "speed"]
    assert (half["device_id"], half["interval"], half["window"]) == ("dev-1", "30min", "30m")


def test_kpi_is_kept_for_ten_minutes_but_never_served_when_outdated(stage: Stage) -> None:
    straddling(stage)
    key = keys.kpi("dev-1", "10min")
    with stage.api() as client:
        first = client.get("/kpi/dev-1/10min").json()
        assert 0 < stage.client.ttl(key) <= 600
        again = client.get("/kpi/dev-1/10min").json()
        assert again["points"] == first["points"]
        stage.stream(
            {600: {(at("00:40"), "dev-1"): (60, 6)}}, batch=2, watermark=at("00:45"), max_event_time=float(at("00:55"))
        )
        newer = client.get("/kpi/dev-1/10min").json()
        stage.seal({600: {(at("00:30"), "dev-1"): (7, 7)}}, at("01:00"), spans=[Span(at("00:00"), at("01:00"))])
        sealed = client.get("/kpi/dev-1/10min").json()
    assert newer["points"][-1]["values"]["total_users"] == 6
    assert [p["values"]["total_users"] for p in sealed["points"]] == [7]


def test_a_kept_kpi_is_really_used_while_nothing_moves(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        client.get("/kpi/dev-1/10min")
        window = keys.speed_window(stage.metric.family, 600, at("00:30"))
        stage.client.hset(window, stage.key("dev-1"), stage.pack((1, 1)))  # type: ignore[arg-type]
        kept = client.get("/kpi/dev-1/10min").json()
        time.sleep(0.01)
        assert client.get("/kpi/dev-1/10min").json()["freshness_seconds"] > kept["freshness_seconds"]
    assert kept["points"][-1]["values"]["total_users"] == 3
