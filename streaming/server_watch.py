"""Notices that another Redis answers than before: one started again, from whatever copy, or a promoted replica."""

from collections.abc import Callable

import redis

from streaming.fenced_writer import answering


class ServerWatch:
    """The fence tells of lost writes of speed; of what the batch wrote while nothing arrived, nothing else does."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._known: str | None = None

    def look(self, on_change: Callable[[], None]) -> None:
        """Calls back when the server is another process than at the last look, and again if that fails. The first look
        tells nothing. ViewsUnavailable when Redis does not answer."""
        with answering():
            found = self._client.info("server").get("run_id")
        if self._known is not None and found != self._known:
            on_change()
        self._known = found
