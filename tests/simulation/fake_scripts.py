"""The product's Lua scripts, by their text, as functions over a `FakeRedis`."""

from collections.abc import Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from serving import speed_store, views
from streaming import fenced_writer

if TYPE_CHECKING:
    from tests.simulation.fake_redis import FakeRedis


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


def _write(store: "FakeRedis", names: list[str], argv: list[Any]) -> Any:
    return store.fence.write(Strings(store), names, argv, lambda words: store.run_command(*words))


def _claim(store: "FakeRedis", names: list[str], argv: list[Any]) -> Any:
    return store.fence.claim(Strings(store), names, argv)


def _head(store: "FakeRedis", names: list[str], argv: list[Any]) -> Any:
    texts = [store.run_command("GET", name) for name in names[:4]]
    spans = [store.run_command("ZRANGEBYSCORE", name, *argv[:2]) for name in names[5:7]]
    ahead = [store.run_command("HGET", name, argv[2]) for name in names[7:]]
    return [*texts, store.run_command("EXISTS", names[4]), *spans, ahead]


def _field_of_each(store: "FakeRedis", names: list[str], argv: list[Any]) -> Any:
    return [[store.run_command("HGET", name, field) for field in argv] for name in names]


def _of_entity(store: "FakeRedis", names: list[str], argv: list[Any]) -> Any:
    return [store.run_command("GET", names[0]), [store.run_command("HGET", name, argv[0]) for name in names[1:]]]


SCRIPTS: dict[str, Callable[["FakeRedis", list[str], list[Any]], Any]] = {
    fenced_writer._WRITE: _write,
    fenced_writer._CLAIM: _claim,
    speed_store._HEAD: _head,
    speed_store._OF_ENTITY: _of_entity,
    views._FIELD_OF_EACH: _field_of_each,
}
