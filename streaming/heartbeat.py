"""Tells the world that the stream runs: keys with a short life, refreshed by a thread of its own.

A key that is there means that somebody drains the source; one that is not, after a kill, that nobody does.
"""

import threading
from collections.abc import Callable, Iterable

import redis
import structlog

from tidemark import keys

LOG = structlog.get_logger()
ALIVE_MS = 10_000
REFRESH_S = 2.0


class Heartbeat:
    """`lanes` gives the (contract, lane) pairs that are being looked after, asked before each refresh."""

    def __init__(self, client: redis.Redis, lanes: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self._client = client
        self._lanes = lanes
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._refresh()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        try:
            self._client.delete(*(keys.alive(contract, lane) for contract, lane in self._lanes()))
        except redis.RedisError as error:
            LOG.warning("alive keys not deleted, they expire by themselves", error=str(error))

    def _beat(self) -> None:
        while not self._ended.wait(REFRESH_S):
            self._refresh()

    def _refresh(self) -> None:
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for contract, lane in self._lanes():
                    pipe.set(keys.alive(contract, lane), "1", px=ALIVE_MS)
                pipe.execute()
        except redis.RedisError as error:
            LOG.warning("alive keys not refreshed", error=str(error))
