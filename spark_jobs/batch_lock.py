"""One batch at a time per lake.

A lake on this machine is guarded by a file lock, which the kernel drops with the process, however it ends. A lake in an
object store is guarded by a lease in Redis, renewed while the batch runs: after a kill it lapses by itself.
"""

import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tidemark.errors import Fault
from tidemark.keys import FORMAT

LEASE_S = 60
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_RENEW = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0"


@contextmanager
def local_lock(lake: Path) -> Iterator[None]:
    """Hold the file lock of a lake on this machine. Fault when another batch holds it."""
    lake.mkdir(parents=True, exist_ok=True)
    with (lake / ".batch.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Fault(f"another batch (process {file.read().strip() or 'unknown'}) is running on this lake") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def remote_lease(client: "redis.Redis", lake: str) -> Iterator[None]:
    """Hold the lease of a lake in an object store. Fault when another batch holds it."""
    key, token, done = f"{FORMAT}:batch-lease:{lake}", secrets.token_hex(16), threading.Event()
    if not client.set(key, token, nx=True, px=LEASE_S * 1000):
        raise Fault("another batch is running on this lake, or was killed less than a minute ago")

    def renew() -> None:
        while not done.wait(LEASE_S / 4):
            try:
                client.eval(_RENEW, 1, key, token, str(LEASE_S * 1000))
            except redis.RedisError:
                continue

    keeper = threading.Thread(target=renew, name="batch-lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
        client.eval(_RELEASE, 1, key, token)
