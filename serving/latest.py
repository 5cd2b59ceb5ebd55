"""The newest windows of one device: the answers of the apps that ask "now" instead of a range."""

import time
from contextlib import suppress
from typing import Any

import orjson

from serving.answer_service import Situation
from serving.deps import Services
from serving.documents import encode
from serving.query import Asked
from tidemark import keys
from tidemark.errors import NotFound, ViewsUnavailable
from tidemark.merge import Query
from tidemark.metrics.model import Metric
from tidemark.windows import Span, ceil_to, iso, window_name

KPI_EXPIRY_S = 600
DEVICE = "device_id"


class LatestWindows:
    """Latest windows per device. Raises NotFound for a device that neither layer has seen, ViewsUnavailable when only
    the speed layer could tell and it is away."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, metric_name: str, device: str, window_s: int | None, windows: int) -> dict[str, Any]:
        """The answer for the device's newest windows, at most `windows` points. `window_s` None: the shortest."""
        metric = self._services.catalogue.metric(metric_name)
        window_s = window_s or min(metric.windows)
        horizon = ceil_to(time.time(), window_s) + window_s
        now = Span(horizon - window_s, horizon)
        probe = await self._services.answers.situation(_asked(metric, device, window_s, now))
        return await self._from(probe, device, windows)

    async def _from(self, probe: Situation, device: str, windows: int) -> dict[str, Any]:
        metric, window_s = probe.metric, probe.query.window_s
        latest = await self._latest_start(probe)
        if latest is None and _cannot_know(probe):
            raise ViewsUnavailable(f"device {device!r} is in no sealed window, and the speed views cannot be asked")
        if latest is None:
            raise NotFound("device", f"device {device!r} is not known")
        span = Span(latest - (windows - 1) * window_s, max(_horizon(probe), latest + window_s))
        answer = await self._services.answers.answer(_asked(metric, device, window_s, span))
        assert answer.document is not None
        document = answer.document
        document["points"] = document["points"][-windows:]
        return document

    async def _latest_start(self, probe: Situation) -> int | None:
        metric, query, selection = probe.metric, probe.query, probe.selection
        found: list[int | None] = []
        if probe.head is not None and selection.dims_key is not None and not metric.batch_only:
            with suppress(ViewsUnavailable):
                found.append(await self._services.speed.latest_start(metric, query.window_s, selection.dims_key))
        newest = max((start for start in found if start is not None), default=None)
        if probe.publication is not None and (newest is None or newest < probe.publication.sealed_through):
            found.append(await self._services.batch.latest_start(metric, probe.publication, query.window_s, selection))
        return max((start for start in found if start is not None), default=None)

    async def kpi(self, metric_name: str, device: str, interval: str, window_s: int, windows: int) -> dict[str, Any]:
        """Like `answer`, kept in Redis for other readers, and for the next request as long as nothing newer exists."""
        metric = self._services.catalogue.metric(metric_name)
        names = keys.kpi(device, interval), keys.kpi_basis(device, interval)
        basis, kept = await self._basis(metric, window_s, names)
        if basis is not None and kept is not None:
            document = kept | {"freshness_seconds": round(max(time.time() - basis["as_of"], 0.0), 3)}
            with suppress(ViewsUnavailable):
                await self._services.views.renew_pair(names, encode(document), encode(basis), KPI_EXPIRY_S)
            return document
        document = await self.answer(metric_name, device, window_s, windows)
        document |= {"device_id": device, "interval": interval}
        is_reusable = basis is not None and document["complete"] and _built_on(document, basis)
        with suppress(ViewsUnavailable):
            own = encode(basis) if is_reusable else None
            await self._services.views.keep_pair(names, encode(document), own, KPI_EXPIRY_S)
        return document

    async def _basis(
        self, metric: Metric, window_s: int, names: tuple[str, str]
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """What a kept answer must have been built on to be as good as a new one, and the kept one that was.

        None without a running, fresh stream: whether an answer is complete then depends on the source as well.
        """
        now = time.time()
        try:
            head = await self._services.speed.head(metric, window_s, Span(0, 0))
            kept, kept_basis = await self._services.views.command("MGET", *names)
        except ViewsUnavailable:
            return None, None
        progress, publication = head.progress, head.publication
        if progress is None or not head.alive or not progress.is_fresh(now, self._services.settings.stale_after_s):
            return None, None
        basis = {
            "family": metric.family,
            "version": publication.version if publication else None,
            "epoch": progress.epoch,
            "batch": progress.batch,
            "as_of": progress.as_of,
            "horizon": ceil_to(now, window_s),
        }
        return basis, orjson.loads(kept) if kept is not None and kept_basis == encode(basis) else None


def _asked(metric: Metric, device: str, window_s: int, span: Span) -> Asked:
    return Asked(metric.name, window_name(window_s), iso(span.start), iso(span.end), (f"{DEVICE}:{device}",))


def _cannot_know(probe: Situation) -> bool:
    """Whether the views do not answer, or are being rebuilt by a stream that runs."""
    head = probe.head
    return head is None or (head.progress is None and head.alive)


def _horizon(probe: Situation) -> int:
    """End of the newest window that anything is known of: by event time where there is any, else by the clock."""
    query: Query = probe.query
    edges = [probe.publication.sealed_through] if probe.publication else []
    progress = probe.head.progress if probe.head else None
    if progress is None:
        edges.append(query.span.start)
    elif progress.max_event_time is not None:
        edges.append(int(progress.max_event_time) + 1)
    return ceil_to(max(edges, default=query.span.start), query.window_s)


def _built_on(document: dict[str, Any], basis: dict[str, Any]) -> bool:
    """Whether no batch or stream wrote between looking at the basis and building the answer."""
    return bool(document["batch_version"] == basis["version"] and document["speed_as_of"] == iso(basis["as_of"]))
