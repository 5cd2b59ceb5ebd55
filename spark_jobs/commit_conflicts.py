"""Delta refuses a commit when another job has changed the table since it was read. Nothing was written: try again."""

from collections.abc import Callable
from typing import TypeVar

import structlog

from tidemark.errors import LakeUnavailable

log = structlog.get_logger()
ATTEMPTS = 3
_SIGN = "io.delta.exceptions.Concurrent"
"""Java's names of them. Delta's Python classes have no base in common and are not there on every platform."""
_T = TypeVar("_T")


def retry_conflicts(step: Callable[[], _T], uri: str) -> _T:
    """Run a step that writes a table and may be run again. LakeUnavailable when each attempt met a conflict."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return step()
        except Exception as error:
            if _SIGN not in str(error):
                raise
            log.warning("another job changed the table, writing again", table=uri, attempt=attempt)
    raise LakeUnavailable(f"lake: another job changed {uri} {ATTEMPTS} times while it was written; run the batch again")
