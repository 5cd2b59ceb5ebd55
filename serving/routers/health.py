"""`/health/…` for orchestrators, `/metrics` for Prometheus."""

import time

from fastapi import APIRouter
from fastapi.responses import Response

from serving import schemas
from serving.openapi import errors
from serving.probes import not_ready_reasons, observe_layers
from serving.problems import Problem
from serving.replies import json_reply
from serving.routers.wired import Wired
from serving.telemetry import CONTENT_TYPE

router = APIRouter(tags=["health"])


@router.get("/health/live", responses={200: {"model": schemas.Health}})
async def live() -> Response:
    """The process answers."""
    return json_reply({"status": "live"})


@router.get("/health/ready", responses={200: {"model": schemas.Health}, **errors(503)})
async def ready(services: Wired) -> Response:
    """Redis and the lake answer, and no metric is degraded."""
    reasons = await not_ready_reasons(services)
    if reasons:
        detail = "; ".join(f"{reason['check']}: {reason['detail']}" for reason in reasons)
        raise Problem(503, "not-ready", detail, reasons=reasons)
    return json_reply({"status": "ready"})


@router.get("/metrics")
async def prometheus(services: Wired) -> Response:
    """The text exposition format."""
    await observe_layers(services, time.time())
    return Response(services.telemetry.export(), headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})
