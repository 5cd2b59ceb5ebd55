"""What redis-py and serving hold in their hands: pipelines and scripts over one `FakeRedis`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.simulation.fake_redis import FakeRedis


class Pipeline:
    """Commands and scripts, carried out one by one; in a transaction as one step."""

    def __init__(self, store: "FakeRedis", transaction: bool) -> None:
        self._store, self._transaction = store, transaction
        self._queued: list[Callable[[], Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._queued.clear()

    def queue(self, call: Callable[[], Any]) -> None:
        self._queued.append(call)

    def execute(self) -> list[Any]:
        queued, self._queued = self._queued, []
        if not self._transaction:
            return [call() for call in queued]
        hook, self._store.after_step = self._store.after_step, None
        try:
            replies = [call() for call in queued]
        finally:
            self._store.after_step = hook
        if hook is not None:
            hook(True)
        return replies

    def _queue_command(self, *words: Any) -> Self:
        self.queue(lambda: self._store.step(*words))
        return self

    def expire(self, key: Any, seconds: int) -> Self:
        return self._queue_command("EXPIRE", key, seconds)

    def zremrangebyscore(self, key: Any, low: Any, high: Any) -> Self:
        return self._queue_command("ZREMRANGEBYSCORE", key, low, high)

    def hexists(self, key: Any, field: Any) -> Self:
        return self._queue_command("HEXISTS", key, field)

    def delete(self, *names: Any) -> Self:
        return self._queue_command("DEL", *names)

    def hset(self, key: Any, field: Any = None, value: Any = None, mapping: Mapping[Any, Any] | None = None) -> Self:
        pairs: Iterable[tuple[Any, Any]] = [(field, value)] if mapping is None else mapping.items()
        return self._queue_command("HSET", key, *(word for pair in pairs for word in pair))

    def zadd(self, key: Any, members: Mapping[Any, Any]) -> Self:
        for member, score in members.items():
            self._queue_command("ZADD", key, score, member)
        return self

    def zrem(self, key: Any, *members: Any) -> Self:
        return self._queue_command("ZREM", key, *members)


class FakeScript:
    def __init__(self, store: "FakeRedis", text: str) -> None:
        self._store, self._text = store, text

    def __call__(self, keys: Sequence[str], args: Sequence[Any], client: Pipeline | None = None) -> Any:
        if client is None:
            return self._store.run_script(self._text, keys, args)
        client.queue(lambda: self._store.run_script(self._text, keys, args))
        return None


class AsyncFake:
    """The same store for serving, whose reads are no steps: nothing happens between them unless a test says so (see
    `FakeRedis.after_read`)."""

    def __init__(self, store: "FakeRedis") -> None:
        self.store = store
        self.connection_pool = SimpleNamespace(make_connection=None)

    async def script(self, text: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        reply = self.store.run_script(text, keys, args, is_reader=True)
        self.store.was_read()
        return reply

    def pipeline(self, transaction: bool = True) -> "AsyncPipeline":
        return AsyncPipeline(self.store)


class AsyncPipeline:
    def __init__(self, store: "FakeRedis") -> None:
        self._store = store
        self._queued: list[tuple[Any, ...]] = []

    def hgetall(self, key: Any) -> None:
        self._queued.append(("HGETALL", key))

    def get(self, key: Any) -> None:
        self._queued.append(("GET", key))

    async def execute(self) -> list[Any]:
        self._store.check_up()
        replies = [self._store.run_command(*words) for words in self._queued]
        self._store.was_read()
        return replies
