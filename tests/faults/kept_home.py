"""A home that took minutes to build, kept with what Redis held, and put back before each fault.

It is put back at the same path: Spark's checkpoints remember the paths of the segments that they have read.
"""

import shutil
from pathlib import Path

import redis


class KeptHome:
    """The state of a home and of its Redis at the moment of construction. Nothing may run on the home then."""

    def __init__(self, home: Path, kept: Path, redis_url: str) -> None:
        self._home, self._kept, self._url = home, kept, redis_url
        shutil.copytree(home, kept)
        with redis.Redis.from_url(redis_url) as client:
            self._keys = [(key, client.dump(key), max(0, client.pttl(key))) for key in client.scan_iter()]

    def put_back(self) -> None:
        shutil.rmtree(self._home)
        shutil.copytree(self._kept, self._home)
        with redis.Redis.from_url(self._url) as client:
            client.flushall()
            for key, value, left_ms in self._keys:
                client.restore(key, left_ms, value)
