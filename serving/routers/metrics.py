"""`/v1/metrics`: what there is, answers, parity."""

import asyncio
from functools import lru_cache
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import QueryParams

from serving import schemas
from serving.openapi import QUERY_PARAMETERS, errors
from serving.parity import read_parity
from serving.query import Asked
from serving.replies import answer_reply, json_reply
from serving.routers.wired import Wired
from tidemark.metrics.model import Metric
from tidemark.publication import Publication
from tidemark.windows import iso, window_name

router = APIRouter(prefix="/v1/metrics", tags=["metrics"])

KEPT_QUESTIONS, KEPT_LENGTH = 4_096, 512
"""Questions whose parsed form is kept, and bytes of the longest: strangers must not fill the memory with them."""


@router.get("", responses={200: {"model": schemas.MetricList}, **errors(503)})
async def list_metrics(services: Wired) -> Response:
    """Every metric that can be asked, with how far batch has sealed it."""
    metrics = sorted(services.catalogue.registry.metrics.items())
    published = await services.batch.publications_in_force([name for name, _ in metrics])
    listed = [_entry(metric, published.get(name)) for name, metric in metrics]
    return json_reply({"metrics": listed})


@router.get(
    "/{name}",
    responses={200: {"model": schemas.Answer}, 304: {"description": "Not modified"}, **errors(400, 404, 503)},
    openapi_extra={"parameters": QUERY_PARAMETERS},
)
async def get_answer(name: str, request: Request, services: Wired) -> Response:
    """One answer: sealed points from batch, later ones from speed, gaps named."""
    query_string = request.scope["query_string"]
    asked = (_kept_question if len(query_string) <= KEPT_LENGTH else _question)(name, query_string)
    answer = await services.answers.answer(asked, request.headers.get("if-none-match"))
    services.telemetry.answers.labels(name, str(answer.complete).lower()).inc()
    return answer_reply(answer)


@router.get("/{name}/parity", responses={200: {"model": schemas.ParityList}, **errors(404, 503)})
async def get_parity(name: str, services: Wired) -> Response:
    """How what speed had served compared with what batch sealed, newest batch first."""
    metric = services.catalogue.metric(name)
    rows = await asyncio.to_thread(read_parity, services.lake, services.tables, metric.name)
    return json_reply({"metric": metric.name, "parity": rows})


def _question(name: str, query_string: bytes) -> Asked:
    return Asked.of(name, QueryParams(query_string).multi_items())


_kept_question = lru_cache(maxsize=KEPT_QUESTIONS)(_question)
"""An app that shows an answer asks for it again and again."""


def _entry(metric: Metric, publication: Publication | None) -> dict[str, Any]:
    return {
        "name": metric.name,
        "description": metric.description,
        "category": metric.category,
        "contract": metric.contract,
        "dims": [dim.name for dim in metric.dims],
        "measures": [output.name for output in metric.outputs],
        "windows": [window_name(window_s) for window_s in metric.windows],
        "sealed_through": iso(publication.sealed_through) if publication else None,
        "version": publication.version if publication else None,
    }
