"""The HTTP application: wiring, nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from conf.settings import Settings, load_settings
from serving import error_handlers
from serving.deps import open_services
from serving.edge import EdgeLayer
from serving.openapi import describe
from serving.routers import devices, events, health, metrics
from serving.shortcut import Shortcut
from serving.telemetry import Telemetry


class Api(FastAPI):
    """The framework's app behind the edge, which sees every request first."""

    def __init__(self, telemetry: Telemetry, **options: Any) -> None:
        super().__init__(**options)
        self._edge = EdgeLayer(Shortcut(super().__call__), telemetry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["app"] = self
            await self._edge(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings) -> Api:
    """The API on these settings. Connections open with the lifespan, so creating it has no effect outside."""
    telemetry = Telemetry()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = await open_services(settings)
        services.telemetry = telemetry
        app.state.services = services
        try:
            yield
        finally:
            await services.close()

    app = Api(telemetry, title="Tidemark", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in (metrics.router, devices.router, events.router, health.router):
        app.include_router(router)
    error_handlers.install(app)
    describe(app)
    return app


def served_app() -> Api:
    """What the workers of `tidemark serve` import and call."""
    return create_app(load_settings())
