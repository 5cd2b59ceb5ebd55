"""What happens between two steps of a writer: somebody looks, and once perhaps something goes wrong."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World


class Crash(BaseException):
    """The process ends here; nothing in the product may catch it."""


class Interrupt:
    """Something that happens after so many steps of a writer: 0 = before the first."""

    def __init__(self, after: int, act: "Callable[[World], None]") -> None:
        self.after, self.act = after, act


@contextmanager
def interrupted(world: "World", interrupt: Interrupt | None, look_every: int = 1) -> Iterator[None]:
    """Within it, every step of a writer is watched. `look_every`: a reader looks after so many writes."""
    taken = written = 0

    def stepped(has_written: bool) -> None:
        nonlocal taken, written
        taken += 1
        written += has_written
        if world.watch and has_written and written % look_every == 0:
            world.check(1)
        if interrupt is not None and taken == interrupt.after:
            hook, world.redis.after_step = world.redis.after_step, None
            try:
                interrupt.act(world)
            finally:
                world.redis.after_step = hook

    before, world.redis.after_step = world.redis.after_step, stepped
    try:
        if interrupt is not None and interrupt.after == 0:
            interrupt.act(world)
        yield
    finally:
        world.redis.after_step = before
