"""Tags of sealed answers: what a reader holds is still right as long as its tag is."""

import hashlib

from tidemark.merge import Query
from tidemark.publication import Publication


def sealed_etag(publication: Publication, query: Query, is_degraded: bool) -> str:
    """Equal tags mean equal sealed data for the same question: family, the runs that wrote it, what of it was deleted,
    and the quality mark."""
    facts = (
        publication.family,
        publication.runs_in(query.span),
        publication.expired_in(query.span),
        query.window_s,
        query.span,
        sorted(query.filters.items()),
        query.group_by,
        query.top,
        query.order_by,
        is_degraded,
    )
    return f'W/"{hashlib.sha256(repr(facts).encode()).hexdigest()[:24]}"'


def etag_matches(known: str | None, etag: str) -> bool:
    """Whether an If-None-Match header names the tag (weak comparison, RFC 9110 §13.1.2)."""
    if known is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags
