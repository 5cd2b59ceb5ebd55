"""One answer on its way out: what was asked and what it rests on, then the points, of which many are JSON already."""

import json
from dataclasses import dataclass
from typing import Any

import orjson

from serving.documents import encode
from tidemark.merge import Query


@dataclass(frozen=True, slots=True)
class Answer:
    """INTERFACES §5 in parts. `head`: all but the points; None when the caller's `etag` still holds. `settled`: the
    first points, JSON without brackets. `points`: the others. `etag` only for sealed ranges.
    """

    head: dict[str, Any] | None
    settled: bytes
    points: list[dict[str, Any]]
    etag: str | None
    complete: bool
    query: Query

    @property
    def document(self) -> dict[str, Any] | None:
        """The whole, for those who look inside."""
        if self.head is None:
            return None
        return self.head | {"points": json.loads(b"[" + self.settled + b"]") + self.points}

    def encoded(self) -> bytes:
        """The whole as JSON."""
        parts = [part for part in (self.settled, encode(self.points)[1:-1]) if part]
        return encode({**(self.head or {}), "points": orjson.Fragment(b"[" + b",".join(parts) + b"]")})

    @property
    def max_age_s(self) -> int:
        """How long a private cache may keep it: sealed a minute, closed a few seconds, open or incomplete not."""
        if self.etag is not None:
            return 60
        closed = all(point["state"] != "open" for point in self.points)
        return 5 if self.complete and closed and (self.settled or self.points) else 0
