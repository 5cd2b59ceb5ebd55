"""`POST /v1/events/{contract}`: the HTTP door of the source."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from quality.record_check import check_record
from serving import schemas
from serving.event_bodies import BODY_LIMIT_BYTES, split_records
from serving.openapi import errors
from serving.problems import Problem
from serving.replies import json_reply
from serving.routers.wired import Wired
from tidemark.contracts import ContractSet

router = APIRouter(prefix="/v1/events", tags=["events"])

THREADED_FROM_BYTES = 16 * 1024
"""Bodies beyond which judging leaves the event loop: for smaller ones the way to a thread costs more than the work."""

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}
            },
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }
}


@router.post(
    "/{contract}",
    status_code=202,
    responses={202: {"model": schemas.EventReceipt}, **errors(400, 404, 413, 422, 503)},
    openapi_extra=_BODY,
)
async def post_events(contract: str, request: Request, services: Wired) -> Response:
    """Takes one event, an array or lines. Every readable record is durable in the source before the reply; the stream
    puts what breaks the contract into quarantine, as the results foretell."""
    declared = services.catalogue.contract(contract)
    body = await _read(request)
    content_type = request.headers.get("content-type", "")
    now = datetime.now(UTC)
    if len(body) > THREADED_FROM_BYTES:
        records, results = await asyncio.to_thread(_judge, body, content_type, declared, now)
    else:
        records, results = _judge(body, content_type, declared, now)
    await services.commits(contract).append(records)
    services.backlogs.forget(contract)
    accepted = sum(result["status"] == "accepted" for result in results)
    services.telemetry.events.labels(contract, "accepted").inc(accepted)
    services.telemetry.events.labels(contract, "quarantined").inc(len(results) - accepted)
    if not accepted:
        raise Problem(422, "no-valid-record", "no record keeps the contract; all were quarantined", results=results)
    receipt = {"accepted": accepted, "quarantined": len(results) - accepted, "results": results}
    return json_reply(receipt, status=202)


async def _read(request: Request) -> bytes:
    """The body, up to the limit."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > BODY_LIMIT_BYTES:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> Problem:
    return Problem(413, "body-too-large", f"a body has at most {BODY_LIMIT_BYTES} bytes")


def _judge(
    body: bytes, content_type: str, declared: ContractSet, now: datetime
) -> tuple[list[bytes], list[dict[str, Any]]]:
    records = split_records(body, content_type)
    return records, [_result(index, check_record(declared, raw, now).reasons) for index, raw in enumerate(records)]


def _result(index: int, reasons: tuple[str, ...]) -> dict[str, Any]:
    return {"index": index, "status": "quarantined" if reasons else "accepted", "reasons": list(reasons)}
