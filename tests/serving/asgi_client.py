"""A blocking HTTP client of an ASGI app, in a loop of its own, with the app's lifespan around it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI


class AsgiClient:
    """`get`, `post`, … of httpx. Requests of several threads run concurrently in the app's loop."""

    def __init__(self, portal: BlockingPortal, client: httpx.AsyncClient) -> None:
        self._portal = portal
        self._client = client

    def request(self, method: str, url: Any, **given: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            return await self._client.request(method, url, **given)

        return self._portal.call(send)

    def get(self, url: Any, **given: Any) -> httpx.Response:
        return self.request("GET", url, **given)

    def post(self, url: Any, **given: Any) -> httpx.Response:
        return self.request("POST", url, **given)


@contextmanager
def running(app: FastAPI) -> Iterator[AsgiClient]:
    """The app between its start and its end."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    with start_blocking_portal() as portal:
        client = httpx.AsyncClient(transport=transport, base_url="http://api")
        with (
            portal.wrap_async_context_manager(app.router.lifespan_context(app)),
            portal.wrap_async_context_manager(client),
        ):
            yield AsgiClient(portal, client)
