"""The merged answer over HTTP, on a real Redis and a real lake."""

import time
from itertools import count
from typing import Any

import pytest

from serving.answer_service import AnswerService
from serving.schemas import Answer
from serving.speed_store import SpeedStore
from tests.packs import SHIPPED
from tests.serving.stage import Stage, ask, at, instant
from tidemark import keys
from tidemark.windows import Span

DAY_AGO = at("00:00") - 86_400


def straddling(stage: Stage, **seal: object) -> None:
    """00:00–00:30 sealed, 00:30–01:00 in speed. dev-1: sums 10, 20 | 30; dev-2: 7 | –."""
    ten = {(at("00:00"), "dev-1"): (10, 2), (at("00:10"), "dev-1"): (20, 4), (at("00:10"), "dev-2"): (7, 1)}
    thirty = {(at("00:00"), "dev-1"): (30, 6), (at("00:00"), "dev-2"): (7, 1)}
    stage.seal({600: ten, 1800: thirty}, at("00:30"), **seal)  # type: ignore[arg-type]
    speed = {(at("00:30"), "dev-1"): (30, 3), (at("00:20"), "dev-1"): (999, 1)}
    stage.stream(
        {600: speed, 1800: {(at("00:30"), "dev-1"): (30, 3)}}, watermark=at("00:45"), max_event_time=float(at("00:55"))
    )


@pytest.mark.parametrize("hot_from", [None, at("00:00"), at("00:10")], ids=["lake", "redis", "both"])
def test_an_answer_adds_both_layers_and_says_which_is_which(stage: Stage, hot_from: int | None) -> None:
    straddling(stage, hot_from=hot_from)
    with stage.api() as client:
        reply = ask(client, dim="device_id:dev-1")
    assert reply.status_code == 200
    document = reply.json()
    Answer.model_validate(document)
    assert [(p["start"], p["values"], p["layer"], p["state"]) for p in document["points"]] == [
        (instant("00:00"), {"avg_access": 5.0, "total_users": 2}, "batch", "sealed"),
        (instant("00:10"), {"avg_access": 5.0, "total_users": 4}, "batch", "sealed"),
        (instant("00:30"), {"avg_access": 10.0, "total_users": 3}, "speed", "closed"),
    ]
    assert (document["complete"], document["missing"]) == (True, [])
    assert (document["sealed_through"], document["batch_version"]) == (instant("00:30"), 1)
    assert document["dims"] == {"device_id": "dev-1"}


def test_dimensions_not_asked_for_are_rolled_up(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        rolled = ask(client, window="30m").json()["points"]
        grouped = ask(client, window="30m", group_by="device_id").json()["points"]
    assert [p["values"]["total_users"] for p in rolled] == [7, 3]
    assert [p["dims"] for p in rolled] == [{}, {}]
    assert [(p["dims"]["device_id"], p["values"]["total_users"]) for p in grouped] == [
        ("dev-1", 6),
        ("dev-2", 1),
        ("dev-1", 3),
    ]


def test_a_longer_window_is_composed_on_read(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        (point,) = ask(client, window="1h", dim="device_id:dev-1").json()["points"]
    assert point["values"] == {"avg_access": 60 / 9, "total_users": 9}
    assert (point["layer"], point["state"]) == ("speed", "open")


def test_top_keeps_the_first_groups_by_a_measure(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        top = ask(client, group_by="device_id", top=1, order_by="-total_users").json()["points"]
        bottom = ask(client, group_by="device_id", top=1, order_by="total_users").json()["points"]
    assert {p["dims"]["device_id"] for p in top} == {"dev-1"}
    assert {p["dims"]["device_id"] for p in bottom} == {"dev-2"}


def test_a_range_is_widened_to_whole_windows(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        document = ask(client, from_="2026-01-01T01:05:00.5+01:00", to="2026-01-01T00:10:01Z").json()
    assert (document["from"], document["to"]) == (instant("00:00"), instant("00:20"))


def test_with_redis_down_sealed_ranges_answer_and_the_rest_is_missing(stage: Stage) -> None:
    straddling(stage, hot_from=at("00:00"))
    with stage.api(redis_url="redis://127.0.0.1:1/0") as client:
        started = time.monotonic()
        sealed = ask(client, dim="device_id:dev-1", to=instant("00:30"))
        both = ask(client, dim="device_id:dev-1")
        strict = ask(client, dim="device_id:dev-1", strict="true")
        took = time.monotonic() - started
    assert [p["values"]["total_users"] for p in sealed.json()["points"]] == [2, 4]
    assert sealed.json()["complete"] is True
    assert both.json()["missing"] == [{"from": instant("00:30"), "to": instant("01:00"), "reason": "speed_unavailable"}]
    assert strict.status_code == 503
    assert strict.headers["content-type"] == "application/problem+json"
    assert strict.json()["type"] == "urn:tidemark:problem:incomplete"
    assert strict.json()["missing"] == both.json()["missing"]
    assert took < 5


def test_a_lost_pointer_is_read_from_the_lake(stage: Stage) -> None:
    straddling(stage, hot_from=at("00:00"))
    stage.client.flushall()
    with stage.api() as client:
        document = ask(client, dim="device_id:dev-1").json()
    assert document["batch_version"] == 1
    assert [p["layer"] for p in document["points"]] == ["batch", "batch"]
    assert document["missing"][0]["reason"] == "speed_unavailable"


def test_hashes_that_expired_under_the_reader_come_from_the_pinned_lake_version(stage: Stage) -> None:
    straddling(stage, hot_from=at("00:00"))
    old = stage.published
    assert old is not None
    stage.seal(
        {600: {(at("00:00"), "dev-1"): (1000, 1)}},
        at("00:30"),
        spans=[Span(at("00:00"), at("00:30"))],
        hot_from=at("00:00"),
        pointer=False,
    )
    for window_s in (600, 1800):
        for start in (at("00:00"), at("00:10"), at("00:20")):
            stage.client.delete(keys.batch_window(old.family, window_s, start, 1))
    with stage.api() as client:
        document = ask(client, dim="device_id:dev-1", to=instant("00:30")).json()
        stage.point(stage.published)  # type: ignore[arg-type]
        newer = ask(client, dim="device_id:dev-1", to=instant("00:30")).json()
    assert document["batch_version"] == 1
    assert [p["values"]["total_users"] for p in document["points"]] == [2, 4]
    assert newer["batch_version"] == 2
    assert [p["values"]["total_users"] for p in newer["points"]] == [1]


def test_an_unfiltered_question_reads_whole_windows_from_redis(stage: Stage) -> None:
    straddling(stage, hot_from=at("00:00"))
    with stage.api() as client:
        points = ask(client, to=instant("00:30")).json()["points"]
    assert [p["values"]["total_users"] for p in points] == [2, 5]


def test_a_hole_between_batch_and_speed_is_missing(stage: Stage) -> None:
    straddling(stage)
    stage.stream({}, families={stage.metric.family: at("00:40")}, watermark=at("00:45"), batch=2)
    with stage.api() as client:
        document = ask(client, dim="device_id:dev-1").json()
    assert document["missing"] == [{"from": instant("00:30"), "to": instant("00:40"), "reason": "not_covered"}]
    assert [p["layer"] for p in document["points"]] == ["batch", "batch"]


def test_a_stopped_stream_matters_only_while_the_source_holds_more(stage: Stage) -> None:
    straddling(stage)
    progress = stage.stream({}, alive=False, watermark=at("00:45"), batch=2, position={"segments": []})
    with stage.api() as client:
        assert ask(client).json()["complete"] is True
        event = b'{"event_id":"e","timestamp":"2026-01-01T00:50:00Z","device_id":"d","user_id":"u","access_count":1}'
        assert client.post("/v1/events/access", content=event).status_code == 202
        document = ask(client).json()
    assert progress.position == {"segments": []}
    assert document["missing"] == [{"from": instant("00:40"), "to": instant("01:00"), "reason": "speed_stopped"}]


def test_late_events_make_their_window_incomplete(stage: Stage) -> None:
    straddling(stage)
    stage.client.zadd(keys.late("access", "exact"), {str(at("00:41")): at("00:41"), str(at("00:05")): at("00:05")})
    with stage.api() as client:
        document = ask(client).json()
    assert document["missing"] == [{"from": instant("00:40"), "to": instant("00:50"), "reason": "late"}]


def test_a_sealed_range_carries_an_etag_that_only_its_own_granules_move(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        first = ask(client, to=instant("00:30"))
        etag = first.headers["etag"]
        same = client.get(first.request.url, headers={"If-None-Match": f'"other", {etag}'})
        stage.seal({600: {(at("00:30"), "dev-1"): (30, 3)}}, at("01:00"), spans=[Span(at("00:30"), at("01:00"))])
        later = client.get(first.request.url, headers={"If-None-Match": etag})
        stage.seal({600: {(at("00:00"), "dev-1"): (1, 1)}}, at("01:00"), spans=[Span(at("00:00"), at("00:30"))])
        moved = client.get(first.request.url, headers={"If-None-Match": etag})
    assert first.headers["cache-control"] == "private, max-age=60"
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert later.status_code == 304
    assert moved.status_code == 200
    assert moved.headers["etag"] != etag


def test_an_open_range_has_no_etag_and_is_not_kept(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        reply = ask(client, window="1h")
    assert "etag" not in reply.headers
    assert reply.headers["cache-control"] == "private, max-age=0"


def test_a_published_definition_answers_until_batch_has_filled_the_new_one(stage: Stage) -> None:
    from tidemark.metrics.compiler import compile_metric

    text = dict(stage.metric.source_text)
    text["sql"] = "SELECT device_id, SUM(access_count) AS accesses FROM access GROUP BY device_id"
    stage.metric = compile_metric(text, SHIPPED.contracts)
    stage.seal({600: {(at("00:00"), "dev-1"): (10,)}}, at("00:30"))
    with stage.api() as client:
        document = ask(client, to=instant("00:30")).json()
    assert [p["values"] for p in document["points"]] == [{"accesses": 10}]


def test_sums_beyond_64_bits_are_answered_in_full(stage: Stage) -> None:
    stage.metric = SHIPPED.metrics["revenue"]
    stage.seal({600: {(at("00:00"), "toys"): (2**70, 1)}}, at("00:30"))
    with stage.api() as client:
        reply = ask(client, "revenue", to=instant("00:30"))
    assert reply.json()["points"][0]["values"]["revenue_cents"] == 2**70


def test_a_reader_that_hung_until_its_windows_lapsed_begins_anew(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    straddling(stage, hot_from=at("00:00"))
    clock, read = [time.time()], SpeedStore.partials

    async def hang_first(self: SpeedStore, *arguments: Any) -> Any:
        monkeypatch.setattr(SpeedStore, "partials", read)
        clock[0] += 3_700
        stage.seal({600: {(at("00:30"), "dev-1"): (7, 7)}}, at("01:00"))
        for key in stage.client.scan_iter(keys.speed_pattern()):
            stage.client.delete(key)
        return await self.partials(*arguments)

    monkeypatch.setattr(SpeedStore, "partials", hang_first)
    monkeypatch.setattr(AnswerService.__init__, "__defaults__", (lambda: clock[0],))
    with stage.api() as client:
        document = ask(client, from_=instant("00:30")).json()
    assert clock[0] > time.time() + 3_600
    assert [(p["layer"], p["values"]["total_users"]) for p in document["points"]] == [("batch", 7)]


def test_a_reader_that_hangs_each_time_gives_no_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    straddling(stage, hot_from=at("00:00"))
    clock = count(time.time(), 100)
    monkeypatch.setattr(AnswerService.__init__, "__defaults__", (lambda: next(clock),))
    with stage.api() as client:
        reply = ask(client)
    assert reply.status_code == 503
    assert "does not answer" in reply.json()["detail"]
