"""The two routes that are called thousands of times a second, around the framework.

Finding a route, its dependencies and its exit stacks costs the framework more CPU than an answer takes. So a plain
request for one of these goes straight to the function of its route; the routes stay declared, which documents them, and
take whatever comes another way. Errors leave through the edge, which knows the same documents for them.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.deps import Services
from serving.routers import events, metrics


class _Short(NamedTuple):
    """`path`: the template, as the framework's routes have it."""

    path: str
    serve: Callable[[str, Request, Services], Awaitable[Response]]


_SHORT = {
    ("GET", "/v1/metrics"): _Short("/v1/metrics/{name}", metrics.get_answer),
    ("POST", "/v1/events"): _Short("/v1/events/{contract}", events.post_events),
}


class Shortcut:
    """An ASGI layer right below the edge."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        front, _, name = scope["path"].rpartition("/")
        short = _SHORT.get((scope["method"], front))
        if short is None or not name or scope.get("root_path"):
            await self._app(scope, receive, send)
            return
        scope["route"] = short
        response = await short.serve(name, Request(scope, receive), scope["app"].state.services)
        await response(scope, receive, send)
