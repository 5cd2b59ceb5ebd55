"""Everything that can happen to a deployment, in any order: Hypothesis chooses, `World` holds R after every step.

Few rules that each do much: a run of thirty steps has then many micro-batches, late events and half-done batches, not
thirty times nothing. What a rule does when it cannot (a tick without a stream) is to make it possible.
"""

from collections.abc import Callable

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.simulation.definitions import PEAKS, TOTALS
from tests.simulation.fence_model import FenceModel
from tests.simulation.interrupts import Crash, Interrupt
from tests.simulation.world import World
from tidemark.windows import floor_to

AGES_S = (0, 0, 0, 0, 1, 59, 60, 599, 600, 660, 661, 720, 721, 900, 1200, 1800, 3600, 7200, 90_000, -60, -600, -3600)
JUMPS_S = (1, 11, 31, 60, 300, 599, 600, 1800, 3601, 7200)


def crash(_: World) -> None:
    raise Crash


def _reply_lost(_: World) -> None:
    raise redis.ConnectionError("the reply did not come")


def _down(world: World) -> None:
    world.redis.is_down = True


def _redefine(world: World) -> None:
    """A metric leaves the stream, or comes back."""
    world.kill()
    world.metrics = (TOTALS,) if PEAKS in world.metrics else (TOTALS, PEAKS)
    world.redefined = True
    world.start()


Happening = Callable[[World], None]
FAULTS: dict[str, Happening] = {
    "crash": crash,
    "reply lost": _reply_lost,
    "down": _down,
    "emptied": World.lose_redis,
    "snapshot": World.take_snapshot,
    "restored": lambda world: world.restore_snapshot(-1),
    "taken over": lambda world: world.take_over(fresh=False),
    "taken over afresh": lambda world: world.take_over(fresh=True),
    "the other stream runs": World.tick_beside,
    "emptied, then taken over afresh": lambda world: (world.lose_redis(), world.take_over(fresh=True))[0],
}
FAULTS_OF_BATCH: dict[str, Happening] = {
    **{name: FAULTS[name] for name in ("crash", "reply lost", "down", "emptied", "snapshot", "restored")},
    "an event arrives": lambda world: world.live([(600, "a", 1)]),
    "a late event arrives": lambda world: world.live([(7200, "a", 1)]),
}
MISHAPS: dict[str, Happening] = {
    "killed": World.kill,
    "snapshot": World.take_snapshot,
    "restored": lambda world: world.restore_snapshot(-1),
    "restored further back": lambda world: world.restore_snapshot(-2),
    "emptied": World.lose_redis,
    "down": _down,
    "taken over": lambda world: world.take_over(fresh=False),
    "the other stream goes on": World.change_over,
    "checkpoint lost": World.new_checkpoint,
    "source cleaned": World.clean_source,
    "redefined": _redefine,
    "batch killed": World.kill_batch,
}


early = st.sampled_from([0, 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 12])
"""Step 1 of a batch lies between computing and writing: where a writer that hangs does most harm."""
counts = st.integers(0, 3)


def interrupts(faults: dict[str, Happening]) -> st.SearchStrategy[Interrupt | None]:
    """Mostly none; else a fault after some steps of the writer."""
    some = st.builds(lambda after, name: Interrupt(after, faults[name]), early, st.sampled_from([*faults]))
    return st.none() | some


batches_of_events = st.lists(st.tuples(st.sampled_from(AGES_S), st.sampled_from("ab"), counts), min_size=1, max_size=4)
seldom = st.sampled_from([False, False, False, False, True])


class Deployment(RuleBasedStateMachine):
    """`fence`: the rules of the fence, to be mutated."""

    fence: type[FenceModel] = FenceModel

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.fence())

    @initialize(stream=st.booleans())
    def begin(self, stream: bool) -> None:
        if stream:
            self.world.live([(0, "a", 1), (300, "b", 2)])

    @rule(events=batches_of_events)
    def ingest(self, events: list[tuple[int, str, int]]) -> None:
        for age_s, device, count in events:
            self.world.ingest(age_s, device, count)

    @rule(events=batches_of_events, interrupt=interrupts(FAULTS))
    def live(self, events: list[tuple[int, str, int]], interrupt: Interrupt | None) -> None:
        self.world.live(events, interrupt=interrupt)

    @rule(events=batches_of_events, afresh=st.booleans())
    def hang(self, events: list[tuple[int, str, int]], afresh: bool) -> None:
        self.world.live(events, interrupt=Interrupt(1, lambda world: world.take_over(fresh=afresh)))

    @rule(events=batches_of_events, after=early, within=st.booleans())
    def come_back(self, events: list[tuple[int, str, int]], after: int, within: bool) -> None:
        """Redis as it was a moment ago: before a batch that is under way, or in the middle of the last one."""
        if within:
            self.world.take_snapshot()
            self.world.live(events, interrupt=Interrupt(after, FAULTS["restored"]))
        else:
            self.world.live(events, interrupt=Interrupt(after, World.take_snapshot))
            self.world.restore_snapshot(-1)

    @rule(events=batches_of_events, upto=st.integers(0, 3))
    def fall_behind(self, events: list[tuple[int, str, int]], upto: int) -> None:
        self.world.live(events, upto=upto)

    @rule(back=st.integers(0, 60), number=st.integers(0, 50))
    def live_on_the_edge(self, back: int, number: int) -> None:
        """An event within seconds of a window's edge, and one that has come before."""
        clock_s = int(self.world.clock_s)
        self.world.repeat(number)
        self.world.live([(clock_s - floor_to(clock_s - back // 2, 600) + back % 2, "a", 1)])

    @rule(interrupt=interrupts(FAULTS))
    def start_again(self, interrupt: Interrupt | None) -> None:
        self.world.kill()
        self.world.start(interrupt=interrupt)

    @rule(seconds=st.sampled_from(JUMPS_S))
    def advance(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(
        back=st.sampled_from([0, 0, 0, 1800, 7200]),
        full=seldom,
        fails=seldom,
        behind=seldom,
        steps=st.integers(1, 9),
        interrupt=interrupts(FAULTS_OF_BATCH),
    )
    def seal(self, back: int, full: bool, fails: bool, behind: bool, steps: int, interrupt: Interrupt | None) -> None:
        """A batch begins, or goes on."""
        if self.world.batch is None:
            self.world.redis.is_down = False
            if not behind:
                self.world.write_lake()
            failing = (TOTALS.name,) if fails else ()
            self.world.begin_batch(int(self.world.clock_s) - back, full=full, failing=failing)
        self.world.go_on_with_batch(steps, interrupt=interrupt)

    @rule(what=st.sampled_from([*MISHAPS]))
    def mishap(self, what: str) -> None:
        MISHAPS[what](self.world)

    @rule(really=seldom)
    def settle(self, really: bool) -> None:
        if really:
            self.world.settle()

    @invariant()
    def answers_are_right(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        try:
            self.world.settle()
        finally:
            self.world.close()
