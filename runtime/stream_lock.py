"""One stream per checkpoint: a lock file held for as long as the process lives, so that a kill frees it.

Every stream also shares a lock that a restore wants for itself, which so holds off those of contracts that it does not
know, too. Both guard one machine. Between machines the epoch fence does: the older stream's next write is refused.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conf.locations import is_remote
from conf.settings import Settings
from tidemark.errors import Fault

_ALL = ".streams.lock"


class AnotherStream(Fault):
    """Another process holds the lock."""


@contextmanager
def locked_contract(settings: Settings, contract: str) -> Iterator[None]:
    """Hold the stream lock of a contract. AnotherStream when a process has it, Fault when it cannot be written or a
    restore is under way."""
    restoring = Fault(f"{contract}: a restore is under way: start again when it has ended")
    running = AnotherStream(f"{contract}: another stream runs on these checkpoints")
    with (
        _held(_folder(settings) / _ALL, fcntl.LOCK_SH, restoring),
        _held(_folder(settings) / f"{contract}.lock", fcntl.LOCK_EX, running),
    ):
        yield


@contextmanager
def without_streams(settings: Settings) -> Iterator[None]:
    """Keep the streams of all contracts from starting. AnotherStream when one runs on this machine."""
    running = AnotherStream("a stream runs on these checkpoints, or another restore: stop it first")
    with _held(_folder(settings) / _ALL, fcntl.LOCK_EX, running):
        yield


def is_locked(settings: Settings, contract: str) -> bool:
    """Whether a stream of this contract runs on this machine."""
    try:
        with locked_contract(settings, contract):
            return False
    except AnotherStream:
        return True


@contextmanager
def _held(path: Path, how: int, refusal: Fault) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise Fault(f"checkpoints: cannot write {path.parent}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        yield


def _folder(settings: Settings) -> Path:
    root = settings.checkpoints_uri
    return settings.home / "locks" if is_remote(root) else Path(root)
