"""The two short-cut routes answer as the framework's way to the same function does."""

import asyncio
from typing import Any

import httpx
import pytest

from serving.app import create_app
from tests.serving.stage import Stage, at, instant

RANGE = f"window=10m&from={instant('00:00')}&to={instant('01:00')}"
REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", f"/v1/metrics/device_access?{RANGE}&dim=device_id:dev-1", {}),
    ("HEAD", f"/v1/metrics/device_access?{RANGE}", {}),
    ("GET", f"/v1/metrics/device_access?{RANGE}", {"headers": {"If-None-Match": "*"}}),
    ("GET", f"/v1/metrics/device_access?{RANGE}&to=x", {}),
    ("GET", f"/v1/metrics/none?{RANGE}", {}),
    ("GET", "/v1/metrics/", {}),
    ("GET", "/v1/metrics/device_access/", {}),
    ("GET", "/v1/metrics/device%2Faccess", {}),
    ("GET", "/v1/metrics/d%C3%A9vice", {}),
    ("DELETE", "/v1/metrics/device_access", {}),
    ("POST", "/v1/events/access", {"content": b'{"event_id": "1"}'}),
    ("POST", "/v1/events/access", {"content": b"nonsense"}),
    ("POST", "/v1/events/none", {"content": b"{}"}),
    ("GET", "/v1/events/access", {}),
]


@pytest.mark.parametrize(("method", "path", "given"), REQUESTS)
def test_both_ways_give_the_same_reply(stage: Stage, method: str, path: str, given: dict[str, Any]) -> None:
    stage.seal({600: {(at("00:10"), "dev-1"): (4, 2)}}, at("01:00"), hot_from=at("00:00"))
    short, long = asyncio.run(both(stage, method, path, given))
    assert (short.status_code, short.headers, short.content) == (long.status_code, long.headers, long.content)


async def both(stage: Stage, method: str, path: str, given: dict[str, Any]) -> list[httpx.Response]:
    """The reply over the short cut, and that of an app mounted elsewhere, which does not take it."""
    app = create_app(stage.settings)
    replies = []
    async with app.router.lifespan_context(app):
        for root_path in ("", "/mounted"):
            transport = httpx.ASGITransport(app, root_path=root_path)
            async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
                replies.append(await client.request(method, path, **given))
    return replies
