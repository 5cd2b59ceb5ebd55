"""Answers on the wire."""

from typing import Any

from fastapi.responses import Response

from serving.answer import Answer
from serving.documents import encode
from serving.problems import incomplete

JSON = "application/json"


def json_reply(document: Any, status: int = 200, cache: str = "no-store") -> Response:
    return Response(encode(document), status_code=status, media_type=JSON, headers={"Cache-Control": cache})


def answer_reply(answer: Answer) -> Response:
    """200 with the document, 304 when the caller has it; Problem 503 for a strict question with gaps."""
    headers = {"Cache-Control": f"private, max-age={answer.max_age_s}"}
    if answer.etag is not None:
        headers["ETag"] = answer.etag
    if answer.head is None:
        return Response(status_code=304, headers=headers)
    if answer.query.strict and not answer.complete:
        raise incomplete(answer.head)
    return Response(answer.encoded(), media_type=JSON, headers=headers)
