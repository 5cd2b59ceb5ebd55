"""A refusal in the form of RFC 9457: what routes raise, and what `application/problem+json` carries."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

TYPE_PREFIX = "urn:tidemark:problem:"


class Problem(Exception):
    """A refusal that a route raises on purpose. `extra` are members beside those of the RFC."""

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = dict(headers or {})
        self.extra = extra

    def document(self) -> dict[str, Any]:
        title = HTTPStatus(self.status).phrase
        head = {"type": TYPE_PREFIX + self.kind, "title": title, "status": self.status, "detail": self.detail}
        return head | self.extra


def incomplete(document: dict[str, Any]) -> Problem:
    """What a strict question gets for a range that is not fully covered."""
    reasons = sorted({gap["reason"] for gap in document["missing"]})
    detail = f"the range is not fully covered: {', '.join(reasons)}"
    return Problem(503, "incomplete", detail, {"Retry-After": "5"}, missing=document["missing"])
