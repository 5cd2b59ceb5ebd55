"""Ways to break the protocol, one rule each. A simulation that does not notice one of them proves nothing about it.

Each takes a MonkeyPatch and breaks the product's code or the model of Redis's scripts until the test ends.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from serving import answer_service
from serving.answer_service import AnswerService
from serving.speed_store import Head
from spark_jobs import publish
from streaming import speed_lane
from streaming.covered_from import Unseen
from streaming.fenced_writer import Command, FencedWriter
from streaming.speed_lane import SpeedLane
from streaming.speed_progress import SpeedProgress
from tests.simulation import driver
from tests.simulation.definitions import CODECS, METRICS, PEAKS, TOTALS, cells, fold, merged
from tests.simulation.engine import Checkpoint, Group, Ran, run_batch, to_table
from tests.simulation.fake_redis import FakeRedis
from tests.simulation.fence_model import FenceModel
from tests.simulation.nightly_model import NightlyModel
from tidemark import keys
from tidemark.coverage import Missing, Reason, SpeedState, find_missing
from tidemark.merge import split
from tidemark.points import Groups
from tidemark.publication import Publication
from tidemark.windows import WINDOWS, Span

Mutation = Callable[[pytest.MonkeyPatch], None]


def _without(rule: str) -> Mutation:
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
    patch.setattr(SpeedLane, "_late_commands", lambda self, facts: [])


def late_minutes_not_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SpeedLane, "_remember_late", lambda self, facts: None)


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


def no_barrier(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(NightlyModel, "wait_for_lake", lambda self, end: None)


def late_events_make_nothing_dirty(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(NightlyModel, "late_minutes", lambda self, before, silver: set())


def speed_expires_before_the_pointer_moves(patch: pytest.MonkeyPatch) -> None:
    def run(client: Any, tables: Any, planned: Sequence[Any], check_sole: Any) -> None:
        for plan, publication in planned:
            publish.prepare_hot(client, tables, plan.metric, publication, plan.spans)
        publish.commit_publications(tables, [publication for _, publication in planned])
        for plan, publication in planned:
            publish.clean_up(client, plan.metric, publication, plan.previous)
        publish.point_to(client, [publication for _, publication in planned])

    patch.setattr(publish, "run", run)


def pointer_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    def run(client: Any, tables: Any, planned: Sequence[Any], check_sole: Any) -> None:
        for plan, publication in planned:
            publish.prepare_hot(client, tables, plan.metric, publication, plan.spans)
        publish.point_to(client, [publication for _, publication in planned])
        publish.commit_publications(tables, [publication for _, publication in planned])

    patch.setattr(publish, "run", run)


def unsealed_speed_windows_expire(patch: pytest.MonkeyPatch) -> None:
    expire = publish.expire_speed

    def eager(client: Any, family: str, lengths: Iterable[int], sealed_through: int | None) -> None:
        expire(client, family, lengths, None if sealed_through is None else sealed_through + 3600)

    patch.setattr(publish, "expire_speed", eager)


def _with_missing(change: Callable[[SpeedState | None], SpeedState | None]) -> Mutation:
    """Coverage is worked out from something else than what is known of the lane."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        def found(metric: Any, publication: Any, speed: SpeedState | None, *rest: Any) -> tuple[Missing, ...]:
            return find_missing(metric, publication, change(speed), *rest)

        patch.setattr(answer_service, "find_missing", found)

    return mutate


def _covered_always(speed: SpeedState | None) -> SpeedState | None:
    if speed is None or speed.progress is None:
        return speed
    families = {metric.family: None for metric in (TOTALS, PEAKS)}
    return replace(speed, progress=replace(speed.progress, families=families))


def _no_backlog(speed: SpeedState | None) -> SpeedState | None:
    return None if speed is None else replace(speed, backlog=0)


def always_incomplete(patch: pytest.MonkeyPatch) -> None:
    def found(metric: Any, publication: Any, speed: Any, span: Span, *rest: Any) -> tuple[Missing, ...]:
        return (Missing(span, Reason.NOT_COVERED),)

    patch.setattr(answer_service, "find_missing", found)


def both_layers_at_the_seam(patch: pytest.MonkeyPatch) -> None:
    """Speed answers from the beginning of the window that the seam cuts."""

    def overlapping(span: Span, publication: Publication | None) -> tuple[Span, Span]:
        batch, speed = split(span, publication)
        return batch, Span(max(span.start, speed.start - 1800), speed.end)

    add = Groups.add

    def add_all(self: Groups, rows: Any, layer: str, span: Span) -> None:
        add(self, rows, layer, Span(span.start - 1800, span.end) if layer == "speed" else span)

    patch.setattr(answer_service, "split", overlapping)
    patch.setattr(Groups, "add", add_all)


def kept_points_outlive_their_writer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Head, "writer", property(lambda self: "any"))


def kept_points_outlive_their_publication(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Publication, "runs_in", lambda self, span: ())


def kept_points_of_untrusted_parts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AnswerService, "_settled", _settled_whatever_is_missing(AnswerService._settled))


def _settled_whatever_is_missing(settled: Any) -> Any:
    async def run(self: Any, situation: Any, missing: Any) -> Any:
        return await settled(self, situation, ())

    return run


MUTATIONS: dict[str, Mutation] = {
    "no STALE check": _without("refuses_stale"),
    "no LOST check": _without("refuses_lost"),
    "steps of a batch not checked": _without("checks_steps"),
    "every script moves the fence": _without("only_last_moves"),
    "a claim leaves the progress of doubtful views": _without("claim_withdraws"),
    "a claim does not exceed the checkpoint's epoch": _without("claim_exceeds"),
    "a claim does not look again": _without("claim_looks_again"),
    "increments instead of absolute values": increments_instead_of_absolute_values,
    "progress before windows": progress_before_windows,
    "late events not told": late_events_not_told,
    "late minutes not durable": late_minutes_not_durable,
    "views always taken for intact": views_always_taken_for_intact,
    "views emptied without the fence": views_emptied_without_the_fence,
    "new families covered from the beginning": new_families_covered_from_the_beginning,
    "watermark told too high": watermark_told_too_high,
    "as_of by the clock": as_of_by_the_clock,
    "no barrier": no_barrier,
    "late events make nothing dirty": late_events_make_nothing_dirty,
    "speed expires before the pointer moves": speed_expires_before_the_pointer_moves,
    "pointer before the commit": pointer_before_the_commit,
    "unsealed speed windows expire": unsealed_speed_windows_expire,
    "covered_from ignored": _with_missing(_covered_always),
    "backlog ignored": _with_missing(_no_backlog),
    "always incomplete": always_incomplete,
    "both layers at the seam": both_layers_at_the_seam,
    "kept points outlive their writer": kept_points_outlive_their_writer,
    "kept points outlive their publication": kept_points_outlive_their_publication,
    "kept points of untrusted parts": kept_points_of_untrusted_parts,
}
