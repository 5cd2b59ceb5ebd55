"""A Redis in memory with the commands that Tidemark uses, a clock of its own, snapshots, and a hook at every step.

A step is what a real server does atomically: one command or one script. Between two steps a test may look, crash the
caller, lose the data or let another writer run.
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

import redis

from tests.simulation.fake_clients import FakeScript, Pipeline
from tests.simulation.fake_scripts import SCRIPTS
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


class FakeRedis:
    """`now_s`: the server's clock. `after_step` is called after each step of a synchronous caller, `after_read` after
    each round trip of serving."""

    def __init__(self, now_s: Callable[[], float], fence: FenceModel | None = None) -> None:
        self.data: dict[Key, Any] = {}
        self.expires: dict[Key, float] = {}
        self.is_down = False
        self.after_step: Hook | None = None
        self.after_read: Callable[[], None] | None = None
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
            reply = SCRIPTS[text](self, list(map(_name, names)), list(argv))
        except Refused as error:
            raise redis.ResponseError(str(error)) from None
        if not is_reader:
            self._stepped()
        return reply

    def pause(self) -> None:
        """A step of the caller outside Redis: it may hang or die here, too."""
        self._stepped(has_written=False)

    def was_read(self) -> None:
        if self.after_read is not None:
            self.after_read()

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

    def register_script(self, text: str) -> FakeScript:
        return FakeScript(self, text)

    def pipeline(self, transaction: bool = True) -> Pipeline:
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

    def scan_iter(self, match: str, count: int) -> Any:
        self.check_up()
        return iter([name.encode() for name in sorted(self.data) if fnmatchcase(name, match) and self.peek(name)])

    def mset(self, values: Mapping[str, Any]) -> Any:
        self.check_up()
        for key, value in values.items():
            self.run_command("SET", key, value)
        self._stepped()
        return True


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: type(value)(value) if isinstance(value, dict) else value for key, value in data.items()}


def _between(low: Any, high: Any) -> Callable[[float], bool]:
    def edge(text: Any) -> tuple[float, bool]:
        word = str(text)
        return float(word.removeprefix("(")), word.startswith("(")

    (bottom, above), (top, below) = edge(low), edge(high)
    return lambda score: (score > bottom if above else score >= bottom) and (score < top if below else score <= top)
