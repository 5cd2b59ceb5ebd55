"""One committer at a time to a Delta table on this machine that two processes append to.

Delta's log store for local files looks whether a commit is there and then renames its own to that name. Only threads of
one JVM are kept apart in these two steps: of two processes that commit at once, one could put its commit over the
other's. Object stores refuse that by themselves.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from conf.locations import is_remote
from tidemark.errors import LakeUnavailable

log = structlog.get_logger()
PATIENCE_S = 30.0
"""An append takes some seconds. Beyond it the holder hangs, and to wait on would stop the stream with it."""
_POLL_S = 0.05


@contextmanager
def sole_committer(uri: str, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold the table's lock file, which the kernel drops with the process. LakeUnavailable when there can be none."""
    if is_remote(uri):
        yield
        return
    table = Path(uri)
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        lock = (table.parent / f".{table.name}.lock").open("ab", buffering=0)
    except OSError as error:
        raise LakeUnavailable(f"lake: cannot write {table.parent}: {error.strerror}") from error
    with lock:
        if not _taken(lock.fileno(), patience_s):
            log.warning("another process holds the table for long, appending beside it", table=uri)
        yield


def _taken(lock: int, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        else:
            return True
