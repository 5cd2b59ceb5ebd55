"""What FastAPI cannot infer for `/openapi.json`: parameters read as text, and problem documents."""

from typing import Any

from fastapi import FastAPI

from serving.error_handlers import MEDIA_TYPE
from serving.query import TOP_LIMIT
from serving.schemas import ProblemDocument
from tidemark.windows import WINDOWS

_INSTANT = {"type": "string", "format": "date-time"}


def _parameter(name: str, schema: dict[str, Any], text: str, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": text}


QUERY_PARAMETERS: list[dict[str, Any]] = [
    _parameter("window", {"type": "string", "enum": list(WINDOWS)}, "declared, or a multiple of a declared one", True),
    _parameter("from", _INSTANT, "widened down to a window edge", True),
    _parameter("to", _INSTANT, "exclusive; widened up to a window edge", True),
    _parameter("dim", {"type": "array", "items": {"type": "string"}}, "`name:value`, repeated"),
    _parameter("group_by", {"type": "array", "items": {"type": "string"}}, "a dimension, repeated"),
    _parameter("top", {"type": "integer", "minimum": 1, "maximum": TOP_LIMIT}, "keep only the first groups"),
    _parameter("order_by", {"type": "string"}, "a measure; `-` before it means descending"),
    _parameter("strict", {"type": "boolean", "default": False}, "503 when the range is not fully covered"),
]


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses with a problem document."""
    return {status: {"model": ProblemDocument} for status in statuses}


def describe(app: FastAPI) -> None:
    """Give the app a document in which every error is `application/problem+json`."""
    inferred = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_problems(inferred())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    for operations in document["paths"].values():
        for operation in operations.values():
            responses = operation["responses"]
            if "HTTPValidationError" in str(responses.get("422")):
                del responses["422"]
            for status, response in responses.items():
                if status[0] in "45" and "content" in response:
                    response["content"] = {MEDIA_TYPE: next(iter(response["content"].values()))}
    for unused in ("HTTPValidationError", "ValidationError"):
        document.get("components", {}).get("schemas", {}).pop(unused, None)
    return document
