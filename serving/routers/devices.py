"""Routes that the device apps already call, over the same answers."""

from fastapi import APIRouter
from fastapi.responses import Response

from serving import schemas
from serving.latest import LatestWindows
from serving.openapi import errors
from serving.problems import incomplete
from serving.replies import json_reply
from serving.routers.wired import Wired
from tidemark.errors import NotFound

router = APIRouter(tags=["devices"])

INTERVALS = {"10min": 600, "30min": 1800}
KPI_WINDOWS = 6


@router.get("/kpi/{device_id}/{interval}", responses={200: {"model": schemas.DeviceKpi}, **errors(404, 503)})
async def device_kpi(device_id: str, interval: str, services: Wired) -> Response:
    """The latest windows of `device_access` for a device."""
    if interval not in INTERVALS:
        raise NotFound("interval", f"there is no interval {interval!r}; known: {', '.join(INTERVALS)}")
    latest = LatestWindows(services)
    document = await latest.kpi("device_access", device_id, interval, INTERVALS[interval], KPI_WINDOWS)
    return json_reply(document)


@router.get(
    "/devices/{device_id}/metrics/realtime", responses={200: {"model": schemas.DeviceRealtime}, **errors(404, 503)}
)
async def device_realtime(device_id: str, services: Wired) -> Response:
    """The latest window of `device_energy` for a device, and the layer that it came from."""
    document = await LatestWindows(services).answer("device_energy", device_id, None, 1)
    points = document["points"]
    if not points:
        raise incomplete(document)
    newest = points[-1]
    shown = {name: newest[name] for name in ("start", "end", "state", "values")}
    return json_reply(document | shown | {"device_id": device_id, "source": newest["layer"]})
