"""One stream per checkpoint: a lock file held for as long as the process lives, so that a kill frees it.

It guards one machine. Between machines the epoch fence does: the older stream's next write is refused.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conf.locations import is_remote
from conf.settings import Settings
from tidemark.errors import Fault


class AnotherStream(Fault):
    """Another process holds the lock."""


@contextmanager
def locked_contract(settings: Settings, contract: str) -> Iterator[None]:
    """Hold the stream lock of a contract. AnotherStream when a process has it, Fault when it cannot be written."""
    path = lock_path(settings, contract)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise Fault(f"checkpoints: cannot write {path.parent}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AnotherStream(f"{contract}: another stream runs on these checkpoints") from None
        yield


def is_locked(settings: Settings, contract: str) -> bool:
    """Whether a stream of this contract runs on this machine."""
    try:
        with locked_contract(settings, contract):
            return False
    except AnotherStream:
        return True


def lock_path(settings: Settings, contract: str) -> Path:
    root = settings.checkpoints_uri
    return (settings.home / "locks" if is_remote(root) else Path(root)) / f"{contract}.lock"
