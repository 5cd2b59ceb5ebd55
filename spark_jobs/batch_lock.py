"""One job at a time that changes what batch owns, per lake: a batch, its repair, maintenance.

A lake on this machine is guarded by a file lock, which the kernel drops with the process, however it ends. A lake in an
object store is guarded by a lease in Redis, renewed while the job runs: after a kill it lapses by itself.
"""

import fcntl
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import redis

from conf.locations import is_remote
from conf.settings import Settings
from runtime.redis_server import redis_url
from tidemark import keys
from tidemark.errors import Fault, LakeUnavailable, ViewsUnavailable

LEASE_S = 60
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"


@contextmanager
def sole_job(settings: Settings) -> Iterator[None]:
    """Hold whichever lock the lake has. Fault when another job holds it; asks Redis only for a remote lake."""
    lake = settings.lake_uri
    if not is_remote(lake):
        with local_lock(Path(lake)):
            yield
        return
    try:
        with redis.Redis.from_url(redis_url(settings), socket_timeout=30) as client, remote_lease(client, lake):
            yield
    except redis.RedisError as error:
        raise ViewsUnavailable(f"Redis does not answer, so the lake cannot be locked: {error}") from error


@contextmanager
def local_lock(lake: Path) -> Iterator[None]:
    """Hold the file lock of a lake on this machine. Fault when another job holds it, LakeUnavailable when it cannot be
    written."""
    try:
        lake.mkdir(parents=True, exist_ok=True)
        # Unbuffered: text that a full disk refused would be written, and refused, once more when the file is closed.
        file = (lake / ".batch.lock").open("ab+", buffering=0)
    except OSError as error:
        raise _unwritable(lake, error) from error
    with file:
        _take(file, lake)
        yield


def _take(file: FileIO, lake: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = (file.read() or b"").decode(errors="replace").strip() or "unknown"
        raise Fault(f"another batch (process {holder}) is running on this lake") from None
    try:
        file.truncate(0)
        file.write(str(os.getpid()).encode())
    except OSError as error:
        raise _unwritable(lake, error) from error


def _unwritable(lake: Path, error: OSError) -> LakeUnavailable:
    return LakeUnavailable(f"lake: cannot write {lake}: {error.strerror}")


@contextmanager
def remote_lease(client: "redis.Redis", lake: str) -> Iterator[Callable[[], None]]:
    """Hold the lease of a lake in an object store. Fault when another job holds it.

    Gives a check to be made before what must not happen twice: Fault when the lease has lapsed meanwhile, because this
    process or Redis stood still for longer than it lasts.
    """
    key, token, done = keys.batch_lease(lake), secrets.token_hex(16), threading.Event()
    if not client.set(key, token, nx=True, px=LEASE_S * 1000):
        raise Fault("another batch is running on this lake, or was killed less than a minute ago")

    def renew() -> None:
        while not done.wait(LEASE_S / 4):
            try:
                client.eval(_RENEW, 1, key, token, str(LEASE_S * 1000))
            except redis.RedisError:
                continue

    def check() -> None:
        if client.get(key) != token.encode():
            raise Fault("this batch stood still for too long and lost the lake to another, nothing is published")

    keeper = threading.Thread(target=renew, name="batch-lease", daemon=True)
    keeper.start()
    try:
        yield check
    finally:
        done.set()
        keeper.join()
        client.eval(_RELEASE, 1, key, token)
