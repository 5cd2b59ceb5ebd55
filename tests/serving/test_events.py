"""`POST /v1/events/{contract}`: durable before 202, judged per record, everything readable kept."""

import gzip
import json
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from intake.source import open_source
from serving.event_bodies import BODY_LIMIT_BYTES
from serving.schemas import EventReceipt
from tests.packs import SHIPPED
from tests.serving.stage import Stage
from tests.serving.test_problems import check_problem
from tidemark.errors import Fault

NDJSON = {"Content-Type": "application/x-ndjson"}


def event(name: str, **changed: Any) -> dict[str, Any]:
    plain = {
        "event_id": name,
        "timestamp": "2026-01-01T00:00:00Z",
        "device_id": "dev-1",
        "user_id": "u",
        "access_count": 1,
    }
    return {key: value for key, value in (plain | changed).items() if value is not None}


def stored(stage: Stage) -> list[bytes]:
    return [record.value for record in open_source(stage.settings, SHIPPED.contracts["access"].newest).iter_records()]


def test_a_single_event_is_stored_as_it_was_sent(stage: Stage) -> None:
    text = (
        b' {"event_id": "e-1",\n "timestamp":"2026-01-01T00:00:00.000Z",'
        b'"device_id":"d","user_id":"u","access_count":1, "more": 1.10} '
    )
    with stage.api() as client:
        reply = client.post("/v1/events/access", content=text, headers={"Content-Type": "application/json"})
    assert reply.status_code == 202, reply.text
    assert reply.json() == {
        "accepted": 1,
        "quarantined": 0,
        "results": [{"index": 0, "status": "accepted", "reasons": []}],
    }
    assert stored(stage) == [text.strip()]


@pytest.mark.parametrize("form", ["array", "lines", "lines without a type"])
def test_a_batch_gets_a_result_per_record_and_keeps_the_bad_ones(stage: Stage, form: str) -> None:
    events = [event("a"), event("b", user_id=None), event("c")]
    texts = [json.dumps(e).encode() for e in events]
    body = b"[" + b" ,\n ".join(texts) + b"]" if form == "array" else b"\n".join(texts) + b"\r\n\n"
    with stage.api() as client:
        reply = client.post("/v1/events/access", content=body, headers=NDJSON if form == "lines" else {})
    assert reply.status_code == 202, reply.text
    receipt = EventReceipt.model_validate(reply.json())
    assert (receipt.accepted, receipt.quarantined) == (2, 1)
    assert [(r.status, r.reasons) for r in receipt.results] == [
        ("accepted", []),
        ("quarantined", ["user_id:missing"]),
        ("accepted", []),
    ]
    assert stored(stage) == texts


def test_a_line_that_is_no_json_is_kept_for_quarantine(stage: Stage) -> None:
    body = json.dumps(event("a")).encode() + b"\n{oops\n\xff\xfe\n"
    with stage.api() as client:
        reply = client.post("/v1/events/access", content=body, headers=NDJSON)
    assert reply.status_code == 202
    assert reply.json()["quarantined"] == 2
    assert len(stored(stage)) == 3


def test_nothing_valid_is_422_with_the_results_and_kept_all_the_same(stage: Stage) -> None:
    with stage.api() as client:
        reply = client.post("/v1/events/access", content=b'{"event_id":"x"}')
    document = check_problem(reply, 422, "no-valid-record")
    assert document["results"][0]["status"] == "quarantined"
    assert "device_id:missing" in document["results"][0]["reasons"]
    assert stored(stage) == [b'{"event_id":"x"}']


@pytest.mark.parametrize("body", [b"", b"  \n", b"{", b"[1,", b'"text"', b"12", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_an_unreadable_body_is_400_and_stores_nothing(stage: Stage, body: bytes) -> None:
    with stage.api() as client:
        check_problem(client.post("/v1/events/access", content=body), 400, "unreadable-body")
    assert stored(stage) == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_413(stage: Stage, chunked: bool) -> None:
    async def chunks() -> Any:
        for _ in range(BODY_LIMIT_BYTES // 65_536 + 1):
            yield b" " * 65_536

    content: Any = chunks() if chunked else b" " * (BODY_LIMIT_BYTES + 1)
    with stage.api() as client:
        check_problem(client.post("/v1/events/access", content=content), 413, "body-too-large")


def test_a_source_in_trouble_is_503_and_not_acknowledged(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    from intake.segments import FileSource

    def fail(_: FileSource, records: Iterable[bytes]) -> int:
        raise Fault("source: cannot keep events: No space left on device /secret/path")

    monkeypatch.setattr(FileSource, "append", fail)
    with stage.api() as client:
        reply = client.post("/v1/events/access", content=json.dumps(event("a")).encode())
    check_problem(reply, 503, "unavailable")
    assert "secret" not in reply.text


def test_many_small_posts_share_segments(stage: Stage) -> None:
    with stage.api() as client:

        def post(name: str) -> None:
            for i in range(10):
                reply = client.post("/v1/events/access", content=json.dumps(event(f"{name}-{i}")).encode())
                assert reply.status_code == 202

        threads = [threading.Thread(target=post, args=(f"t{n}",)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    segments = list((stage.settings.home / "source" / "access").glob("[0-9]*.parquet"))
    assert len(stored(stage)) == 160
    assert len({json.loads(text)["event_id"] for text in stored(stage)}) == 160
    assert len(segments) < 160


def test_a_compressed_body_is_not_guessed_at(stage: Stage) -> None:
    with stage.api() as client:
        reply = client.post("/v1/events/access", content=gzip.compress(json.dumps(event("a")).encode()))
    check_problem(reply, 400, "unreadable-body")
