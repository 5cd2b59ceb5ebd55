"""`tidemark status`: gathers what the source, Redis and the lake say into one document (INTERFACES §3)."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pyarrow.compute as pc

from serving.deps import Services
from serving.lake_counts import LakeCounts, count_contract, count_late
from serving.parity import read_parity
from serving.probes import Lane, failed_metrics, lane_progress
from tidemark import keys
from tidemark.contracts import ContractSet
from tidemark.errors import ViewsUnavailable
from tidemark.metrics.model import Metric
from tidemark.progress import Progress
from tidemark.publication import Publication
from tidemark.windows import iso

SPEED_LANE = keys.LANES[0]
"""The lane that counts accepted events."""


async def status(services: Services, now: float) -> dict[str, Any]:
    """Counts per contract and standing per metric. Raises LakeUnavailable, and Fault for a source in trouble."""
    registry = services.catalogue.registry
    contracts = {name: await _contract(services, found, now) for name, found in sorted(registry.contracts.items())}
    published = await services.batch.publications_from_lake()
    failed = await _failed(services)
    metrics = {
        name: await _metric(services, metric, published.get(name)) | failed.get(name, {})
        for name, metric in sorted(registry.metrics.items())
    }
    return {"contracts": contracts, "metrics": metrics}


async def _contract(services: Services, contract: ContractSet, now: float) -> dict[str, Any]:
    name = contract.name
    lanes = _lanes(services, name)
    progress, accepted = await _views(services, lanes)
    counts = await asyncio.to_thread(count_contract, services.lake, services.tables, contract)
    ledger = await asyncio.to_thread(_late_ledger, services, name)
    speed = (progress or {}).get((name, SPEED_LANE))
    return _counts(counts) | {
        "late": count_late(counts.per_minute, accepted, ledger, speed.watermark if speed else None),
        "lag_seconds": await _lag_seconds(services, lanes, progress or {}, now),
        "watermark": iso(speed.watermark) if speed and speed.watermark is not None else None,
    }


def _counts(counts: LakeCounts) -> dict[str, int]:
    names = ("received", "valid", "quarantined", "duplicates")
    return {name: getattr(counts, name) for name in names}


def _lanes(services: Services, contract: str) -> list[Lane]:
    """The lanes that this contract's metrics rest on, and its lake writer."""
    metrics = [m for m in services.catalogue.registry.metrics.values() if m.contract == contract and not m.batch_only]
    return [(contract, lane) for lane in sorted({SPEED_LANE, keys.LAKE_LANE, *(metric.lane for metric in metrics)})]


async def _views(services: Services, lanes: list[Lane]) -> tuple[dict[Lane, Progress] | None, dict[int, int] | None]:
    """(progress per lane, accepted events per minute); None when Redis is away."""

    def queue(pipe: Any) -> None:
        pipe.hgetall(keys.accepted(lanes[0][0]))
        for lane in lanes:
            pipe.get(keys.progress(*lane))

    try:
        accepted, *texts = await services.views.pipeline(queue)
    except ViewsUnavailable:
        return None, None
    found = {lane: Progress.from_json(text) for lane, text in zip(lanes, texts, strict=True) if text is not None}
    return found, {int(minute): int(count) for minute, count in accepted.items()}


async def _lag_seconds(services: Services, lanes: list[Lane], progress: Mapping[Lane, Progress], now: float) -> float:
    """Seconds since the oldest record that some query has not taken was received; 0 when there is none.

    A lane that never ran has taken nothing. Where the source does not know when a record came, it was after the lane's
    last write.
    """
    source = services.source(lanes[0][0])
    oldest = 0.0
    for lane in lanes:
        state = progress.get(lane)
        backlog = await asyncio.to_thread(source.backlog, state.position if state else None)
        if backlog.records:
            since = backlog.oldest_received_at.timestamp() if backlog.oldest_received_at else state and state.as_of
            oldest = max(oldest, now - (since or now), 0.001)
    return round(oldest, 3)


def _late_ledger(services: Services, contract: str) -> dict[int, int]:
    """minute (epoch seconds) → accepted, as batches recorded it in `gold/_late`; empty when none did."""
    rows = services.lake.rows(services.tables.late, None, pc.field("contract") == contract, ["minute", "accepted"])
    if rows is None:
        return {}
    return {int(row["minute"]): int(row["accepted"]) for row in rows.to_pylist()}


async def _failed(services: Services) -> dict[str, dict[str, str]]:
    """metric → `failure`, for those that the stream has set aside; nothing when Redis is away."""
    try:
        return {name: {"failure": why} for name, why in failed_metrics(await lane_progress(services)).items()}
    except ViewsUnavailable:
        return {}


async def _metric(services: Services, metric: Metric, publication: Publication | None) -> dict[str, Any]:
    parity = await asyncio.to_thread(read_parity, services.lake, services.tables, metric.name)
    newest = max((row["version"] for row in parity), default=None)
    rows = [row for row in parity if row["version"] == newest]
    gate = await asyncio.to_thread(_last_gate, services, metric)
    return {
        "sealed_through": iso(publication.sealed_through) if publication else None,
        "version": publication.version if publication else 0,
        "gate": gate or (publication.gate if publication else None),
        "parity": {
            "windows": sum(row["windows"] for row in rows),
            "mismatched": sum(row["mismatched"] for row in rows),
            "max_relative_error": max((row["max_relative_error"] or 0.0 for row in rows), default=0.0),
        },
    }


def _last_gate(services: Services, metric: Metric) -> str | None:
    """`passed` or `failed`: the gates of the metric and of its contract's silver in the last batch that ran any."""
    concerned = pc.field("name").isin([metric.name, metric.contract])
    rows = services.lake.rows(services.tables.gates, None, concerned, ["batch_id", "checked_at", "passed"])
    if rows is None or rows.num_rows == 0:
        return None
    results = rows.to_pylist()
    last = max(results, key=lambda row: row["checked_at"])["batch_id"]
    return "passed" if all(row["passed"] for row in results if row["batch_id"] == last) else "failed"
