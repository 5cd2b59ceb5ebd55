"""Health, Prometheus, the list of metrics, parity, OpenAPI."""

from datetime import UTC, datetime

import pyarrow as pa
from deltalake import write_deltalake

from serving.schemas import MetricList
from tests.serving.stage import Stage, ask, instant
from tests.serving.test_answers import straddling
from tests.serving.test_problems import check_problem


def test_a_fresh_system_is_ready(stage: Stage) -> None:
    with stage.api() as client:
        assert client.get("/health/live").json() == {"status": "live"}
        assert client.get("/health/ready").json() == {"status": "ready"}


def test_without_redis_it_lives_but_is_not_ready(stage: Stage) -> None:
    with stage.api(redis_url="redis://127.0.0.1:1/0") as client:
        assert client.get("/health/live").status_code == 200
        document = check_problem(client.get("/health/ready"), 503, "not-ready")
    assert [reason["check"] for reason in document["reasons"]] == ["redis"]


def test_the_memory_of_redis_is_exported_with_its_limit(stage: Stage) -> None:
    stage.client.config_set("maxmemory", 512 * 1024 * 1024)
    try:
        with stage.api() as client:
            lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines() if line[0] != "#")
    finally:
        stage.client.config_set("maxmemory", 0)
    assert lines["tidemark_redis_up"] == "1.0"
    assert float(lines['tidemark_redis_memory_bytes{kind="limit"}']) == 512 * 1024 * 1024
    assert 0 < float(lines['tidemark_redis_memory_bytes{kind="used"}']) < 512 * 1024 * 1024


def test_a_redis_that_is_away_has_no_memory_to_export(stage: Stage) -> None:
    with stage.api(redis_url="redis://127.0.0.1:1/0") as client:
        exported = client.get("/metrics").text
    assert "tidemark_redis_up 0.0" in exported
    assert "tidemark_redis_memory_bytes{" not in exported


def test_a_lake_that_cannot_be_read_is_not_ready(stage: Stage) -> None:
    log = stage.settings.home / "lake" / "gold" / "_publications" / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020d}.json").write_text("not a log")
    with stage.api() as client:
        document = check_problem(client.get("/health/ready"), 503, "not-ready")
    assert [reason["check"] for reason in document["reasons"]] == ["lake"]


def test_the_list_says_how_far_each_metric_is_sealed(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        listed = MetricList.model_validate(client.get("/v1/metrics").json()).metrics
    by_name = {entry.name: entry for entry in listed}
    assert by_name["device_access"].sealed_through == instant("00:30")
    assert by_name["device_access"].windows == ["10m", "30m"]
    assert by_name["revenue"].version is None
    assert len(listed) == 11


def test_parity_rows_come_newest_first(stage: Stage) -> None:
    rows = [
        {
            "metric": "device_access",
            "version": version,
            "window": "10m",
            "windows": 3,
            "mismatched": 0,
            "max_relative_error": 0.0,
            "compared_at": datetime(2026, 1, version, tzinfo=UTC),
        }
        for version in (1, 2)
    ]
    with stage.api() as client:
        assert client.get("/v1/metrics/device_access/parity").json() == {"metric": "device_access", "parity": []}
        write_deltalake(stage.tables.parity, pa.Table.from_pylist(rows))
        document = client.get("/v1/metrics/device_access/parity").json()
    assert [row["version"] for row in document["parity"]] == [2, 1]
    assert document["parity"][0]["compared_at"] == "2026-01-02T00:00:00Z"


def test_prometheus_sees_requests_answers_and_layers(stage: Stage) -> None:
    straddling(stage)
    with stage.api() as client:
        ask(client)
        client.get("/nowhere")
        reply = client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'tidemark_answers_total{complete="true",metric="device_access"} 1.0' in reply.text
    assert 'route="/v1/metrics/{name}",status="200"' in reply.text
    assert 'route="unmatched",status="404"' in reply.text
    assert 'tidemark_freshness_seconds{contract="access",lane="exact"}' in reply.text
    assert 'tidemark_sealed_through_seconds{metric="device_access"} 1.7672274e+09' in reply.text


def test_openapi_describes_answers_and_problems(stage: Stage) -> None:
    with stage.api() as client:
        document = client.get("/openapi.json").json()
    answer = document["paths"]["/v1/metrics/{name}"]["get"]
    assert {"window", "from", "to", "dim", "group_by", "top", "order_by", "strict", "name"} == {
        parameter["name"] for parameter in answer["parameters"]
    }
    assert answer["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Answer")
    assert list(answer["responses"]["400"]["content"]) == ["application/problem+json"]
    assert "422" not in answer["responses"]
    assert list(document["paths"]["/v1/events/{contract}"]["post"]["responses"]) == [
        "202",
        "400",
        "404",
        "413",
        "422",
        "503",
    ]
