"""Every refusal is a problem document that names what was wrong and nothing of the inside."""

import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.stage import Stage, ask, at, instant

PREFIX = "urn:tidemark:problem:"


def check_problem(reply: Any, status: int, kind: str, parameter: str | None = None) -> dict[str, Any]:
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = reply.json()
    assert document["type"] == PREFIX + kind
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    if parameter is not None:
        assert document["parameter"] == parameter
        assert parameter in document["detail"]
    return document


@pytest.mark.parametrize(
    ("parameter", "given_"),
    [
        ("window", {"window": "7m"}),
        ("window", {"window": "1m"}),
        ("window", {"window": None}),
        ("window", {"window": ["10m", "30m"]}),
        ("from", {"from_": "yesterday"}),
        ("from", {"from_": "2026-01-01T00:00:00"}),
        ("from", {"from_": None}),
        ("to", {"to": "2026-13-01T00:00:00Z"}),
        ("to", {"to": instant("00:00")}),
        ("to", {"to": "9999-12-31T23:59:59Z"}),
        ("dim", {"dim": "device_id"}),
        ("dim", {"dim": ":x"}),
        ("dim", {"dim": "color:red"}),
        ("dim", {"dim": ["device_id:a", "device_id:b"]}),
        ("group_by", {"group_by": "color"}),
        ("top", {"top": "0"}),
        ("top", {"top": "many"}),
        ("order_by", {"order_by": "size"}),
        ("strict", {"strict": "perhaps"}),
        ("colour", {"colour": "red"}),
    ],
)
def test_a_bad_request_names_the_parameter(stage: Stage, parameter: str, given_: dict[str, Any]) -> None:
    with stage.api() as client:
        check_problem(ask(client, **given_), 400, "bad-parameter", parameter)


def test_unknown_things_are_404(stage: Stage) -> None:
    with stage.api() as client:
        check_problem(ask(client, "nothing"), 404, "unknown-metric", "metric")
        check_problem(client.get("/v1/metrics/nothing/parity"), 404, "unknown-metric", "metric")
        check_problem(client.get("/kpi/dev-1/5min"), 404, "unknown-interval", "interval")
        check_problem(client.get("/nowhere"), 404, "not-found")
        check_problem(client.post("/v1/events/nothing", content=b"{}"), 404, "unknown-contract", "contract")


def test_wrong_methods_are_405_with_the_right_ones(stage: Stage) -> None:
    with stage.api() as client:
        for method in ("POST", "DELETE", "OPTIONS", "PUT"):
            reply = client.request(method, "/v1/metrics/device_access")
            check_problem(reply, 405, "method-not-allowed")
            assert "GET" in reply.headers["allow"]


def test_head_is_get_without_a_body(stage: Stage) -> None:
    with stage.api() as client:
        reply = client.request("HEAD", "/health/live")
        missing = client.request("HEAD", "/nowhere")
    assert (reply.status_code, reply.content) == (200, b"")
    assert (missing.status_code, missing.content) == (404, b"")
    assert missing.headers["content-type"] == "application/problem+json"


def test_an_unexpected_error_stays_inside(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.answer_service import AnswerService

    async def explode(*_: Any) -> None:
        raise RuntimeError("SELECT secret FROM /var/lib")

    monkeypatch.setattr(AnswerService, "answer", explode)
    with stage.api() as client:
        reply = ask(client)
    check_problem(reply, 500, "internal")
    assert "secret" not in reply.text
    assert "Traceback" not in reply.text


def test_a_lake_that_cannot_be_read_is_503_without_its_path(stage: Stage) -> None:
    stage.seal({600: {(at("00:00"), "dev-1"): (10, 2)}}, at("00:30"))
    for file in (stage.settings.home / "lake" / "gold" / "device_access").rglob("*.parquet"):
        file.unlink()
    with stage.api() as client:
        reply = ask(client, to=instant("00:30"))
    check_problem(reply, 503, "lake-unavailable")
    assert str(stage.settings.home) not in reply.text


def test_nothing_at_all_is_an_empty_complete_answer(stage: Stage) -> None:
    with stage.api() as client:
        document = ask(client).json()
    assert (document["points"], document["complete"], document["sealed_through"]) == ([], True, None)


WORDS = st.text(st.characters(codec="utf-8"), max_size=30)
MAYBE = st.one_of(st.none(), WORDS)
WINDOWS = st.one_of(WORDS, st.sampled_from(["1m", "10m", "30m", "1h", "1d"]))
INSTANTS = st.one_of(
    WORDS,
    st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    st.from_regex(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})\Z"),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_parameters_whatever_make_a_500(stage: Stage, data: st.DataObject) -> None:
    client = stage.shared_api()
    parameters = {
        "window": data.draw(WINDOWS),
        "from_": data.draw(INSTANTS),
        "to": data.draw(INSTANTS),
        "dim": data.draw(st.lists(st.one_of(WORDS, WORDS.map(lambda text: f"device_id:{text}")), max_size=2)),
        "group_by": data.draw(st.lists(st.one_of(WORDS, st.just("device_id")), max_size=2)),
        "top": data.draw(st.one_of(MAYBE, st.integers(-5, 50).map(str))),
        "order_by": data.draw(st.one_of(MAYBE, st.sampled_from(["avg_access", "-total_users"]))),
        "strict": data.draw(st.one_of(MAYBE, st.sampled_from(["true", "false"]))),
    }
    metric = data.draw(st.sampled_from(["device_access", "revenue", "active_users", "geo"]))
    reply = ask(client, metric, **parameters)
    assert reply.status_code in (200, 400, 404), reply.text
    if reply.status_code != 200:
        assert reply.headers["content-type"] == "application/problem+json"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text(string.printable, max_size=20), body=st.binary(max_size=60))
def test_no_path_or_body_whatever_makes_a_500(stage: Stage, path: str, body: bytes) -> None:
    from urllib.parse import quote

    client = stage.shared_api()
    name = quote(path, safe="")
    paths = (f"/v1/metrics/{name}", f"/kpi/{name}/10min", f"/devices/{name}/metrics/realtime")
    for reply in (*map(client.get, paths), client.post("/v1/events/access", content=body)):
        assert reply.status_code < 500, reply.text
