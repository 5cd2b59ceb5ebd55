"""A Redis in memory with the commands that Tidemark uses, a clock of its own, snapshots, and a hook at every step.

A step is what a real server does atomically: one command or one script. Between two steps a test may look, crash the
caller, lose the data or let another writer run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from types import SimpleNamespace
from typing import Any, Self

import redis

from serving import speed_store, views
from streaming import fenced_writer
from tests.simulation.fence_model import FenceModel, Refused

Key = str
Hook = Callable[[bool], None]
"""Told whether the step may have changed anything."""
_READS = frozenset({"GET", "EXISTS", "HGET", "HEXISTS", "HGETALL", "ZRANGE", "ZRANGEBYSCORE"})


class Zset(dict[bytes, float]):
    """member → score."""


def _bytes(word: Any) -> bytes:
    return word if isinstance(word, bytes) else str(word).encode()


def _name(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


class Strings(MutableMapping[str, bytes]):
    """The text keys of a store as a mapping, for the fence."""

    def __init__(self, store: "FakeRedis") -> None:
        self._store = store

    def __getitem__(self, key: str) -> bytes:
        value = self._store.peek(key)
        if value is None:
            raise KeyError(key)
        return value  # type: ignore[no-any-return]

    def __setitem__(self, key: str, value: bytes) -> None:
        self._store.run_command("SET", key, value)

    def __delitem__(self, key: str) -> None:
        self._store.run_command("DEL", key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.data)

    def __len__(self) -> int:
        return len(self._store.data)


class FakeRedis:
    """`now_s`: the server's clock. `after_step` is called after each step of a synchronous caller."""

    def __init__(self, now_s: Callable[[], float], fence: FenceModel | None = None) -> None:
        self.data: dict[Key, Any] = {}
        self.expires: dict[Key, float] = {}
        self.is_down = False
        self.after_step: Hook | None = None
        self.fence = fence or FenceModel()
        self.connection_pool = SimpleNamespace(disconnect=lambda **_: None)
        self._now_s = now_s

    # --- faults

    def snapshot(self) -> tuple[Any, ...]:
        return _copied(self.data), dict(self.expires)

    def restore(self, snapshot: tuple[Any, ...]) -> None:
        self.data, self.expires = _copied(snapshot[0]), dict(snapshot[1])

    def lose_all(self) -> None:
        self.data, self.expires = {}, {}

    # --- one step

    def peek(self, key: str) -> Any:
        """A value without a step; None when there is none or it has expired."""
        if key in self.expires and self.expires[key] <= self._now_s():
            del self.expires[key]
            self.data.pop(key, None)
        return self.data.get(key)

    def step(self, *words: Any) -> Any:
        self.check_up()
        reply = self.run_command(*words)
        self._stepped(words[0] not in _READS)
        return reply

    def run_script(self, text: str, names: Sequence[str], argv: Sequence[Any], *, is_reader: bool = False) -> Any:
        self.check_up()
        try:
            reply = _SCRIPTS[text](self, list(map(_name, names)), list(argv))
        except Refused as error:
            raise redis.ResponseError(str(error)) from None
        if not is_reader:
            self._stepped()
        return reply

    def pause(self) -> None:
        """A step of the caller outside Redis: it may hang or die here, too."""
        self._stepped(has_written=False)

    def check_up(self) -> None:
        if self.is_down:
            raise redis.ConnectionError("down")

    def _stepped(self, has_written: bool = True) -> None:
        if self.after_step is not None:
            self.after_step(has_written)

    def run_command(self, command: str, *words: Any) -> Any:
        return getattr(self, f"_{command.lower()}")(*words)

    # --- the commands

    def _get(self, key: Any) -> Any:
        return self.peek(_name(key))

    def _set(self, key: Any, value: Any, *options: Any) -> bool:
        name = _name(key)
        self.data[name] = _bytes(value)
        self.expires.pop(name, None)
        if options:
            self.expires[name] = self._now_s() + int(options[1]) / (1000 if options[0] == "PX" else 1)
        return True

    def _del(self, *names: Any) -> int:
        found = 0
        for name in map(_name, names):
            found += self.peek(name) is not None
            self.data.pop(name, None)
            self.expires.pop(name, None)
        return found

    _unlink = _del

    def _exists(self, key: Any) -> int:
        return int(self.peek(_name(key)) is not None)

    def _expire(self, key: Any, seconds: Any) -> int:
        name = _name(key)
        if self.peek(name) is None:
            return 0
        self.expires[name] = self._now_s() + int(seconds)
        return 1

    def _of(self, key: Any, kind: type[dict[Any, Any]]) -> Any:
        name = _name(key)
        if self.peek(name) is None:
            self.data[name] = kind()
        return self.data[name]

    def _hset(self, key: Any, *pairs: Any) -> int:
        fields = self._of(key, dict)
        for at in range(0, len(pairs), 2):
            fields[_bytes(pairs[at])] = _bytes(pairs[at + 1])
        return len(pairs) // 2

    def _hget(self, key: Any, field: Any) -> bytes | None:
        return (self.peek(_name(key)) or {}).get(_bytes(field))  # type: ignore[no-any-return]

    def _hexists(self, key: Any, field: Any) -> bool:
        return _bytes(field) in (self.peek(_name(key)) or {})

    def _hgetall(self, key: Any) -> dict[bytes, bytes]:
        return dict(self.peek(_name(key)) or {})

    def _hdel(self, key: Any, *fields: Any) -> int:
        held = self.peek(_name(key)) or {}
        return sum(held.pop(_bytes(field), None) is not None for field in fields)

    def _zadd(self, key: Any, score: Any, member: Any) -> int:
        self._of(key, Zset)[_bytes(member)] = float(score)
        return 1

    def _ranked(self, key: Any) -> list[tuple[float, bytes]]:
        return sorted((score, member) for member, score in (self.peek(_name(key)) or {}).items())

    def _zrange(self, key: Any, first: int, last: int) -> list[bytes]:
        members = [member for _, member in self._ranked(key)]
        return members[first:] if last == -1 else members[first : last + 1]

    def _zrangebyscore(self, key: Any, low: Any, high: Any) -> list[bytes]:
        fits = _between(low, high)
        return [member for score, member in self._ranked(key) if fits(score)]

    def _zremrangebyscore(self, key: Any, low: Any, high: Any) -> int:
        doomed = self._zrangebyscore(key, low, high)
        return self._zrem(key, *doomed)

    def _zrem(self, key: Any, *members: Any) -> int:
        held = self.peek(_name(key)) or {}
        gone = sum(held.pop(_bytes(member), None) is not None for member in members)
        if not held:
            self.data.pop(_name(key), None)
        return gone

    # --- redis-py's faces

    def register_script(self, text: str) -> "FakeScript":
        return FakeScript(self, text)

    def pipeline(self, transaction: bool = True) -> "Pipeline":
        return Pipeline(self, transaction)

    def get(self, key: Any) -> Any:
        return self.step("GET", key)

    def set(self, key: Any, value: Any, px: int | None = None) -> Any:
        return self.step("SET", key, value, *(("PX", px) if px else ()))

    def exists(self, key: Any) -> Any:
        return self.step("EXISTS", key)

    def unlink(self, *names: Any) -> Any:
        return self.step("UNLINK", *names)

    def zrange(self, key: Any, first: int, last: int) -> Any:
        return self.step("ZRANGE", key, first, last)

    def zrangebyscore(self, key: Any, low: Any, high: Any) -> Any:
        return self.step("ZRANGEBYSCORE", key, low, high)

    def zremrangebyscore(self, key: Any, low: Any, high: Any) -> Any:
        return self.step("ZREMRANGEBYSCORE", key, low, high)

    def hgetall(self, key: Any) -> Any:
        return self.step("HGETALL", key)

    def hkeys(self, key: Any) -> Any:
        return list(self.step("HGETALL", key))

    def mset(self, values: Mapping[str, Any]) -> Any:
        self.check_up()
        for key, value in values.items():
            self.run_command("SET", key, value)
        self._stepped()
        return True


class Pipeline:
    """Commands and scripts, carried out one by one; in a transaction as one step."""

    def __init__(self, store: FakeRedis, transaction: bool) -> None:
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
    def __init__(self, store: FakeRedis, text: str) -> None:
        self._store, self._text = store, text

    def __call__(self, keys: Sequence[str], args: Sequence[Any], client: Pipeline | None = None) -> Any:
        if client is None:
            return self._store.run_script(self._text, keys, args)
        client.queue(lambda: self._store.run_script(self._text, keys, args))
        return None


class AsyncFake:
    """The same store for serving, whose reads are no steps: nothing happens between them unless a test says so."""

    def __init__(self, store: FakeRedis) -> None:
        self.store = store
        self.connection_pool = SimpleNamespace(make_connection=None)

    async def script(self, text: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return self.store.run_script(text, keys, args, is_reader=True)

    def pipeline(self, transaction: bool = True) -> "AsyncPipeline":
        return AsyncPipeline(self.store)


class AsyncPipeline:
    def __init__(self, store: FakeRedis) -> None:
        self._store = store
        self._queued: list[tuple[Any, ...]] = []

    def hgetall(self, key: Any) -> None:
        self._queued.append(("HGETALL", key))

    def get(self, key: Any) -> None:
        self._queued.append(("GET", key))

    async def execute(self) -> list[Any]:
        self._store.check_up()
        return [self._store.run_command(*words) for words in self._queued]


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: type(value)(value) if isinstance(value, dict) else value for key, value in data.items()}


def _between(low: Any, high: Any) -> Callable[[float], bool]:
    def edge(text: Any) -> tuple[float, bool]:
        word = str(text)
        return float(word.removeprefix("(")), word.startswith("(")

    (bottom, above), (top, below) = edge(low), edge(high)
    return lambda score: (score > bottom if above else score >= bottom) and (score < top if below else score <= top)


def _write(store: FakeRedis, names: list[str], argv: list[Any]) -> Any:
    return store.fence.write(Strings(store), names, argv, lambda words: store.run_command(*words))


def _claim(store: FakeRedis, names: list[str], argv: list[Any]) -> Any:
    return store.fence.claim(Strings(store), names, argv)


def _head(store: FakeRedis, names: list[str], argv: list[Any]) -> Any:
    texts = [store.run_command("GET", name) for name in names[:4]]
    spans = [store.run_command("ZRANGEBYSCORE", name, *argv[:2]) for name in names[5:7]]
    ahead = [store.run_command("HGET", name, argv[2]) for name in names[7:]]
    return [*texts, store.run_command("EXISTS", names[4]), *spans, ahead]


def _field_of_each(store: FakeRedis, names: list[str], argv: list[Any]) -> Any:
    return [[store.run_command("HGET", name, field) for field in argv] for name in names]


_SCRIPTS: dict[str, Callable[[FakeRedis, list[str], list[Any]], Any]] = {
    fenced_writer._WRITE: _write,
    fenced_writer._CLAIM: _claim,
    speed_store._HEAD: _head,
    views._FIELD_OF_EACH: _field_of_each,
}
