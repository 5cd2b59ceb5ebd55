"""The routes of the device apps: latest windows, never older than what a new question would give."""

import asyncio
import itertools
import time
from typing import Any

import pytest

from serving.schemas import DeviceKpi, DeviceRealtime
from serving.views import Views
from tests.packs import SHIPPED
from tests.serving.asgi_client import AsgiClient
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
        only_speed_could_tell = client.get("/devices/unknown/metrics/realtime")
    assert (with_redis["source"], without["source"]) == ("batch", "batch")
    assert without["complete"] is False
    check_problem(only_speed_could_tell, 503, "views-unavailable")


def test_a_device_is_not_called_unknown_while_the_views_are_rebuilt(stage: Stage) -> None:
    straddling(stage)
    stage.client.delete(keys.progress("access", "exact"))
    with stage.api() as client:
        check_problem(client.get("/kpi/dev-9/10min"), 503, "views-unavailable")


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


KPI, BASIS = keys.kpi("dev-1", "10min"), keys.kpi_basis("dev-1", "10min")


def kpi(client: AsgiClient) -> Any:
    reply = client.get("/kpi/dev-1/10min")
    assert reply.status_code == 200, reply.text
    return reply


@pytest.mark.parametrize("alive", [True, False])
def test_every_kpi_answer_is_in_redis_as_it_was_given(stage: Stage, alive: bool) -> None:
    """Without a stream, too: an app that reads the key itself must not see less than one that asks."""
    straddling(stage)
    if not alive:
        stage.stream({}, alive=False, watermark=at("00:45"), batch=2, position={"segments": []})
    with stage.api() as client:
        for _ in range(2):
            assert kpi(client).content == stage.client.get(KPI)
            assert 590 < stage.client.ttl(KPI) <= 600
            assert stage.client.exists(BASIS) == alive
            stage.client.expire(KPI, 100)


def test_a_kpi_answer_with_gaps_is_kept_for_apps_but_not_given_again(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        kpi(client)
        late = keys.late("access", "exact")
        stage.client.zadd(late, {str(at("00:31")): at("00:31")})
        stage.stream({}, watermark=at("00:45"), max_event_time=float(at("00:55")), batch=2)
        incomplete = kpi(client)
        assert incomplete.json()["complete"] is False
        assert incomplete.content == stage.client.get(KPI)
        assert not stage.client.exists(BASIS)
        stage.client.delete(late)
        assert kpi(client).json()["complete"] is True


def test_a_kept_kpi_without_its_own_basis_is_not_given(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        kpi(client)
        for held in (None, b"{}", b"no JSON"):
            stage.client.delete(BASIS) if held is None else stage.client.set(BASIS, held)
            stage.client.set(KPI, b'{"points": []}')
            assert kpi(client).json()["points"]
            assert stage.client.get(BASIS) not in (None, held)


def test_an_answer_given_again_does_not_replace_a_newer_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has written a newer pair since this one read the older."""
    straddling(stage)
    renew = Views.renew_pair

    async def late(self: Views, *arguments: Any) -> None:
        stage.client.mset({KPI: b"newer", BASIS: b"newer"})
        await renew(self, *arguments)

    monkeypatch.setattr(Views, "renew_pair", late)
    with stage.api() as client:
        first, again = kpi(client), kpi(client)
    assert first.json()["points"] == again.json()["points"]
    assert stage.client.mget(KPI, BASIS) == [b"newer", b"newer"]


def test_kpi_answers_without_redis(stage: Stage) -> None:
    straddling(stage)
    with stage.api(redis_url="redis://127.0.0.1:1/0") as client:
        assert [point["layer"] for point in kpi(client).json()["points"]] == ["batch", "batch"]


def test_kpi_answers_when_redis_cannot_be_written(stage: Stage) -> None:
    straddling(stage)
    limit = stage.client.config_get("maxmemory")["maxmemory"]  # type: ignore[index]
    stage.client.config_set("maxmemory", 1)
    try:
        with stage.api() as client:
            assert kpi(client).json()["complete"] is True
    finally:
        stage.client.config_set("maxmemory", limit)
    assert not stage.client.exists(KPI)


def test_pairs_of_concurrent_writers_are_never_mixed(redis_url: str) -> None:
    """Each writes its name as answer and basis, or as an answer without one."""

    async def write(views: Views, name: bytes, ended: asyncio.Event) -> None:
        turn = 0
        while not ended.is_set():
            turn += 1
            await views.keep_pair((KPI, BASIS), name, name if turn % 3 else None, 60)
            await views.renew_pair((KPI, BASIS), name, name, 60)

    async def run() -> set[Any]:
        views, ended, seen = [Views.connect(redis_url) for _ in range(3)], asyncio.Event(), set[Any]()
        names = b"a", b"b"
        writers = [asyncio.create_task(write(own, name, ended)) for own, name in zip(views, names, strict=False)]
        async with asyncio.timeout(60):
            for looks in itertools.count():
                seen.add(tuple(await views[-1].command("MGET", KPI, BASIS)))
                if looks > 200 and seen >= {(b"a", b"a"), (b"b", b"b")}:
                    break
        ended.set()
        await asyncio.gather(*writers)
        await asyncio.gather(*(each.close() for each in views))
        return seen

    seen = asyncio.run(run())
    assert all(basis in (answer, None) for answer, basis in seen), seen
