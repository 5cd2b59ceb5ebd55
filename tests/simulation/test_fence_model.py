"""The model of the fence against the real one: the same claims, writes and losses give the same verdicts and keys."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streaming import fenced_writer
from streaming.fenced_writer import Command, FencedWriter
from tests.simulation.fake_redis import FakeRedis
from tests.simulation.fence_model import FenceModel
from tidemark import keys
from tidemark.errors import TidemarkError

KEEPS = ("access", "exact")
NAMES = (keys.fence(*KEEPS), keys.step(*KEEPS), keys.epoch(*KEEPS), keys.progress(*KEEPS))
Move = tuple[Any, ...]

writers = st.integers(0, 2)
cut = st.sampled_from(["dies", "loses its steps"])
moves = st.one_of(
    st.tuples(st.just("claim"), writers, st.integers(0, 3), st.integers(-1, 4), st.booleans()),
    st.tuples(st.just("write"), writers, st.integers(-1, 5), st.integers(0, 4), st.none() | st.integers(0, 4), cut),
    st.tuples(st.sampled_from(["holds", "look"]), writers),
    st.tuples(st.just("lose"), st.sampled_from(NAMES)),
    st.tuples(st.just("lose all")),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("restore")),
)


class Died(Exception):
    """The writer's process ended in the middle of a batch."""


class Side:
    """One Redis with three writers of two checkpoints, driven by moves."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.writers = [FencedWriter(client, *KEEPS, checkpoint) for checkpoint in ("c0", "c0", "c1")]

    def claim(self, writer: int, above: int, committed: int, intact: bool) -> object:
        return self.writers[writer].claim(above, committed, intact=intact)

    def write(self, writer: int, batch: int, count: int, after: int | None, what: str) -> object:
        last = [("SET", NAMES[3], f"{writer}:{batch}")]
        return self.writers[writer].write(batch, self._commands(writer, count, after, what), last)

    def _commands(self, writer: int, count: int, after: int | None, what: str) -> Iterator[Command]:
        for number in range(count):
            if number == after and what == "dies":
                raise Died
            if number == after:
                self.client.unlink(NAMES[1])
            yield ("HSET", f"window-{number}", "group", f"{writer}:{number}")

    def holds(self, writer: int) -> object:
        return self.writers[writer].holds()

    def look(self, writer: int) -> object:
        return self.writers[writer].fence()

    def verdict(self, move: Move) -> object:
        """What the caller sees: the reply, or the kind of error."""
        calls: dict[str, Callable[..., object]] = {
            "claim": self.claim,
            "write": self.write,
            "holds": self.holds,
            "look": self.look,
        }
        try:
            return calls[move[0]](*move[1:])
        except (TidemarkError, Died) as error:
            return type(error)


class Real(Side):
    """The server's side, with its dumps."""

    snapshot: dict[bytes, bytes]

    def keep(self) -> None:
        self.snapshot = {key: self.client.dump(key) for key in self.client.keys("*")}

    def go_back(self) -> None:
        self.client.flushall()
        for key, dumped in self.snapshot.items():
            self.client.restore(key, 0, dumped)

    def content(self) -> dict[str, Any]:
        read = {b"hash": self.client.hgetall, b"string": self.client.get}
        return {key.decode(): read[self.client.type(key)](key) for key in self.client.keys("*")}


def differences(url: str, played: list[Move], model: FenceModel) -> list[str]:
    """Moves at which the model and the server part; empty when they agree to the end."""
    fake = FakeRedis(lambda: 0.0, model)
    with redis.Redis.from_url(url) as client:
        client.flushall()
        real, simulated = Real(client), Side(cast(Any, fake))
        real.keep()
        snapshot = fake.snapshot()
        for place, move in enumerate(played):
            match move:
                case ("lose", name):
                    client.delete(name)
                    fake.run_command("DEL", name)
                case ("lose all",):
                    client.flushall()
                    fake.lose_all()
                case ("snapshot",):
                    real.keep()
                    snapshot = fake.snapshot()
                case ("restore",):
                    real.go_back()
                    fake.restore(snapshot)
                case _:
                    here, there = real.verdict(move), simulated.verdict(move)
                    if here != there:
                        return [f"{place} {move}: the server says {here}, the model {there}"]
            if real.content() != fake.data:
                return [f"{place} {move}: {real.content()} in the server, {fake.data} in the model"]
    return []


@pytest.fixture(autouse=True)
def _a_script_for_each_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fenced_writer, "_MAX_ARGUMENTS", 1)
    monkeypatch.setattr(fenced_writer, "_PIPELINE", 1)


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(played=st.lists(moves, min_size=5, max_size=25))
def test_the_model_of_the_fence_decides_as_redis_does(redis_url: str, played: list[Move]) -> None:
    assert differences(redis_url, played, FenceModel()) == []


LIFE: dict[str, list[Move]] = {
    "refuses_stale": [("claim", 0, 0, -1, True), ("claim", 1, 0, -1, True), ("write", 0, 0, 1, None, "dies")],
    "refuses_lost": [("claim", 0, 0, -1, True), ("write", 0, 4, 1, None, "dies")],
    "checks_steps": [("claim", 0, 0, -1, True), ("write", 0, 0, 3, 2, "loses its steps")],
    "only_last_moves": [("claim", 0, 0, -1, True), ("write", 0, 0, 3, 2, "dies")],
    "claim_withdraws": [("claim", 0, 0, -1, True), ("write", 0, 0, 1, None, "dies"), ("claim", 0, 0, 0, False)],
    "claim_exceeds": [("claim", 0, 3, -1, True)],
    "claim_looks_again": [
        ("claim", 0, 0, -1, True),
        ("write", 0, 0, 1, None, "dies"),
        ("look", 1),
        ("lose all",),
        ("claim", 1, 0, 0, True),
    ],
}


@pytest.mark.parametrize("rule", list(LIFE))
def test_a_model_without_a_rule_is_told_apart(redis_url: str, rule: str) -> None:
    poorer = type("Poorer", (FenceModel,), {rule: False})
    assert differences(redis_url, LIFE[rule], FenceModel()) == []
    assert differences(redis_url, LIFE[rule], poorer()) != []
