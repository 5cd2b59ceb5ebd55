"""The HTTP application: wiring, nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from conf.settings import Settings, load_settings
from serving import error_handlers
from serving.deps import open_services
from serving.edge import EdgeLayer
from serving.openapi import describe
from serving.routers import devices, events, health, metrics
from serving.telemetry import Telemetry


def create_app(settings: Settings) -> FastAPI:
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

    app = FastAPI(title="Tidemark", lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False)
    for router in (metrics.router, devices.router, events.router, health.router):
        app.include_router(router)
    error_handlers.install(app)
    app.add_middleware(EdgeLayer, telemetry=telemetry)
    describe(app)
    return app


def served_app() -> FastAPI:
    """What the workers of `tidemark serve` import and call."""
    return create_app(load_settings())
