"""The outermost ASGI layer: times requests, serves HEAD, and lets no unexpected error out as a stack trace."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.error_handlers import problem_of, problem_response
from serving.telemetry import Telemetry


class EdgeLayer:
    """Outermost layer of the requests: times them, serves HEAD, turns what no route caught into a problem."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, started = scope["method"], time.perf_counter()
        if method == "HEAD":
            scope["method"] = "GET"
        status = 0

        async def forward(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif method == "HEAD" and message["type"] == "http.response.body":
                message = {"type": "http.response.body", "body": b"", "more_body": message.get("more_body", False)}
            await send(message)

        try:
            await self._app(scope, receive, forward)
        except Exception as error:  # noqa: BLE001  the process boundary: logged and answered as a problem
            response = problem_response(problem_of(error))
            if not status:
                await response(scope, receive, forward)
        finally:
            self._record(scope, method, status, time.perf_counter() - started)

    def _record(self, scope: Scope, method: str, status: int, took_s: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        known = method if method in _METHODS else "other"
        self._telemetry.requests.labels(known, route, str(status)).observe(took_s)


_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH"})
