"""What health and monitoring look at: Redis, the lake, the lanes of every contract, the quality of what arrives."""

import asyncio
from typing import Any

from serving.deps import Services
from tidemark import keys
from tidemark.errors import Fault, ViewsUnavailable
from tidemark.progress import Progress

LAKE_TIMEOUT_S = 5.0

Lane = tuple[str, str]
"""(contract, lane)"""


async def not_ready_reasons(services: Services) -> list[dict[str, str]]:
    """Why this process should get no traffic; empty when it should."""
    reasons: list[dict[str, str]] = []
    try:
        progress = await lane_progress(services)
    except ViewsUnavailable:
        reasons.append({"check": "redis", "detail": "the speed views do not answer"})
    else:
        reasons += [{"check": "quality", "detail": f"{name} is degraded"} for name in degraded(services, progress)]
    try:
        await asyncio.wait_for(services.batch.publications_from_lake(), LAKE_TIMEOUT_S)
    except (Fault, TimeoutError):
        reasons.append({"check": "lake", "detail": "the lake does not answer"})
    return reasons


async def lane_progress(services: Services) -> dict[Lane, Progress]:
    """Progress of every lane that has one. Raises ViewsUnavailable."""
    lanes = served_lanes(services)

    def queue(pipe: Any) -> None:
        pipe.ping()
        for contract, lane in lanes:
            pipe.get(keys.progress(contract, lane))

    _, *texts = await services.views.pipeline(queue)
    return {lane: Progress.from_json(text) for lane, text in zip(lanes, texts, strict=True) if text is not None}


def served_lanes(services: Services) -> list[Lane]:
    """The lanes that the served metrics rest on, and the lake writer of each contract."""
    metrics = services.catalogue.registry.metrics.values()
    lanes = {(metric.contract, metric.lane) for metric in metrics if not metric.batch_only}
    return sorted(lanes | {(metric.contract, keys.LAKE_LANE) for metric in metrics})


def failed_metrics(progress: dict[Lane, Progress]) -> dict[str, str]:
    """Metrics that the stream has set aside because they fail when they run, and with what."""
    return {name: why for state in progress.values() for name, why in state.failed.items()}


def degraded(services: Services, progress: dict[Lane, Progress]) -> list[str]:
    """Names of the metrics whose answers are marked degraded."""
    metrics = sorted(services.catalogue.registry.metrics.items())
    lakes = {name: progress.get((metric.contract, keys.LAKE_LANE)) for name, metric in metrics}
    return [name for name, metric in metrics if services.quality.mark(metric, lakes[name])]


async def observe_layers(services: Services, now: float) -> None:
    """Set the gauges. What does not answer keeps no value rather than an old one."""
    telemetry = services.telemetry
    for gauge in (telemetry.freshness, telemetry.lag, telemetry.degraded, telemetry.failed, telemetry.sealed_through):
        gauge.clear()
    telemetry.redis_memory.clear()
    try:
        progress = await lane_progress(services)
        await _observe_redis(services)
    except ViewsUnavailable:
        progress = {}
        telemetry.redis_up.set(0)
    marked, failed = degraded(services, progress), failed_metrics(progress)
    for name in services.catalogue.registry.metrics:
        telemetry.degraded.labels(name).set(name in marked)
        telemetry.failed.labels(name).set(name in failed)
    for (contract, lane), state in progress.items():
        telemetry.freshness.labels(contract, lane).set(max(0.0, now - state.as_of))
        await _observe_lag(services, (contract, lane), state)
    await _observe_publications(services)


async def _observe_redis(services: Services) -> None:
    """A Redis at its limit refuses the stream's writes and goes on answering reads: alert on used against limit."""
    services.telemetry.redis_up.set(1)
    used, limit = await services.views.memory_bytes()
    services.telemetry.redis_memory.labels("used").set(used)
    if limit:
        services.telemetry.redis_memory.labels("limit").set(limit)


async def _observe_lag(services: Services, lane: Lane, progress: Progress) -> None:
    try:
        backlog = await services.backlogs.of(*lane, progress)
    except Fault:
        return
    services.telemetry.lag.labels(*lane).set(backlog.records)


async def _observe_publications(services: Services) -> None:
    try:
        published = await services.batch.publications_in_force(sorted(services.catalogue.registry.metrics))
    except Fault:
        return
    for name, publication in published.items():
        services.telemetry.sealed_through.labels(name).set(publication.sealed_through)
