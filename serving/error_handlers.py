"""Errors on the wire: RFC 9457 `application/problem+json` with a stable `type`.

One place turns every exception into a document. Nothing of the process leaves in it: no stack trace, path or SQL; the
text of a Fault is logged, the caller reads a fixed sentence.
"""

import logging
from http import HTTPStatus

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from serving.problems import Problem
from tidemark.errors import Fault, LakeUnavailable, NotFound, QueryError, TidemarkError, UserError, ViewsUnavailable

log = logging.getLogger("tidemark.serving")

MEDIA_TYPE = "application/problem+json"

_FAULTS: dict[type[Fault], tuple[str, str]] = {
    ViewsUnavailable: ("views-unavailable", "the speed views do not answer; try again"),
    LakeUnavailable: ("lake-unavailable", "the lake does not answer; try again"),
    Fault: ("unavailable", "a part of the system does not answer; try again"),
}
_BY_STATUS = {404: "not-found", 405: "method-not-allowed", 413: "body-too-large"}


def problem_response(problem: Problem) -> Response:
    """The wire form; never cached."""
    headers = {"Cache-Control": "no-store", **problem.headers}
    body = orjson.dumps(problem.document(), default=str)
    return Response(body, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def problem_of(error: Exception) -> Problem:
    """The document for any exception. What is not ours or is a Fault is logged here and leaves without its text."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _invalid_parameter(error)
        case HTTPException():
            kind = _BY_STATUS.get(error.status_code, "bad-request" if error.status_code < 500 else "internal")
            return Problem(error.status_code, kind, HTTPStatus(error.status_code).phrase, error.headers)
        case NotFound():
            return Problem(404, f"unknown-{error.parameter}", str(error), parameter=error.parameter)
        case QueryError():
            return Problem(400, "bad-parameter", str(error), parameter=error.parameter)
        case UserError():
            return Problem(400, "bad-request", str(error))
        case Fault():
            return _fault(error)
    log.error("unexpected error", exc_info=error)
    return Problem(500, "internal", "an unexpected error; it was logged")


def _fault(error: Fault) -> Problem:
    log.error("fault while serving: %s", error, exc_info=error)
    kind, detail = next(_FAULTS[kind] for kind in type(error).__mro__ if kind in _FAULTS)
    return Problem(503, kind, detail, {"Retry-After": "1"})


def _invalid_parameter(error: RequestValidationError) -> Problem:
    first = error.errors()[0]
    parameter = str(first["loc"][-1]) if first.get("loc") else "request"
    return Problem(400, "bad-parameter", f"{parameter}: {first['msg']}", parameter=parameter)


async def handle(_: Request, error: Exception) -> Response:
    """The one exception handler."""
    return problem_response(problem_of(error))


def install(app: FastAPI) -> None:
    """Register the handler for everything that can be raised below a route."""
    for kind in (Problem, TidemarkError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handle)
