"""The stream, its fence or its note with one rule broken."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from streaming import speed_lane
from streaming.checkpoint_note import NoteFile
from streaming.covered_from import Unseen
from streaming.fenced_writer import Command, FencedWriter
from streaming.speed_lane import SpeedLane
from streaming.speed_progress import SpeedProgress
from tests.simulation import driver
from tests.simulation.definitions import CODECS, METRICS, cells, fold, merged
from tests.simulation.engine import Checkpoint, Group, Ran, run_batch, to_table
from tests.simulation.fake_redis import FakeRedis
from tests.simulation.fence_model import FenceModel
from tidemark import keys
from tidemark.windows import WINDOWS

Mutation = Callable[[pytest.MonkeyPatch], None]


def without(rule: str) -> Mutation:
    """The fence lacks a rule."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(FenceModel, rule, False)

    return mutate


def increments_instead_of_absolute_values(patch: pytest.MonkeyPatch) -> None:
    """A batch writes what it adds; Redis adds it up. Right until a batch is run again."""

    def deltas(checkpoint: Checkpoint, number: int, source: Sequence[Any], metrics: Sequence[Any]) -> Ran:
        ran = run_batch(checkpoint, number, source, metrics)
        groups: dict[Group, tuple[int, ...]] = {}
        for event in ran.accepted:
            for metric in metrics:
                for cell in cells(metric, event):
                    groups[metric.family, *cell] = fold(metric, groups.get((metric.family, *cell)), event)
        return replace(ran, rows=to_table(sorted(groups.items())))

    hset = FakeRedis._hset

    def add(self: FakeRedis, key: Any, *pairs: Any) -> int:
        name = str(key).split(":")
        if name[1] != "speed":
            return hset(self, key, *pairs)
        metric = METRICS[name[2].split("@")[0]]
        codec = CODECS[metric.name]
        for at in range(0, len(pairs), 2):
            held = self._hget(key, pairs[at])
            total = merged(metric, codec.decode(held) if held else None, codec.decode(pairs[at + 1]))
            hset(self, key, pairs[at], codec.encode(total or ()))
        return len(pairs) // 2

    patch.setattr(driver, "run_batch", deltas)
    patch.setattr(FakeRedis, "_hset", add)


def progress_before_windows(patch: pytest.MonkeyPatch) -> None:
    write = FencedWriter.write

    def hasty(self: FencedWriter, batch: int, commands: Iterable[Command], last: Iterable[Command] = ()) -> None:
        write(self, batch, [*last, *commands])

    patch.setattr(FencedWriter, "write", hasty)


def late_events_not_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(speed_lane, "tell_late", lambda contract, lane, minutes: [])


def late_minutes_not_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(NoteFile, "update", _without_late(NoteFile.update))


def _without_late(update: Any) -> Any:
    def run(self: NoteFile, note: Any, **changes: Any) -> Any:
        changes.pop("late", None)
        return update(self, note, **changes)

    return run


def views_always_taken_for_intact(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SpeedLane, "_views_intact", lambda self, writer, commit: True)


def views_emptied_without_the_fence(patch: pytest.MonkeyPatch) -> None:
    def wipe(writer: FencedWriter, metrics: Sequence[Any], since: int | None) -> list[Command]:
        client: Any = writer.client
        client.unlink(keys.progress(writer.contract, writer.lane), keys.late(writer.contract, writer.lane))
        for metric in metrics:
            for length in WINDOWS.values():
                index = keys.speed_index(metric.family, length)
                for start in client.zrange(index, 0, -1):
                    client.unlink(keys.speed_window(metric.family, length, int(start)))
                client.unlink(index)
        return []

    patch.setattr(speed_lane, "removals", wipe)


def new_families_covered_from_the_beginning(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(speed_lane, "unseen_by_new", lambda *_: Unseen(None))


def watermark_told_too_high(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(speed_lane, "bucket_s", lambda contract: 120)


def as_of_by_the_clock(patch: pytest.MonkeyPatch) -> None:
    advance = SpeedProgress.advance

    def as_of_now(self: SpeedProgress, *given: Any) -> None:
        advance(self, *given)
        self.record = replace(self.record, as_of=self._now_s())

    patch.setattr(SpeedProgress, "advance", as_of_now)
