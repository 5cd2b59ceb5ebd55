"""The micro-batch engine as Tidemark relies on it: a plan before each batch, the state after it, then the commit.

Spark 4.1, update mode: events of buckets at or below the *previous* batch's watermark are late; state that ends at or
below this batch's watermark leaves it after the output; the next watermark is the newest bucket ever seen minus the
delay. A batch that was planned and not committed is run again over the same records.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from streaming.batch_facts import BatchFacts
from streaming.checkpoint_log import CheckpointLog, Commit
from streaming.checkpoint_note import CheckpointNote, NoteFile
from streaming.speed_views import bucket_s, watermark_delay_s
from tests.simulation.definitions import CONTRACT, Event, cells, fold
from tidemark.keys import EVENTS_FAMILY, EVENTS_WINDOW_S
from tidemark.metrics.model import Metric
from tidemark.metrics.slots import unslot
from tidemark.windows import floor_to

BUCKET_S = bucket_s(CONTRACT.newest)
DELAY_S = watermark_delay_s(CONTRACT.newest)
Group = tuple[str, int, int, bytes]
"""(family, window length, window start, dims key)"""
_SLOTS = ("long_sum0", "long_sum1", "long_sum2", "long_max0")


@dataclass(frozen=True, slots=True)
class Plan:
    """One line of `offsets`. `first`, `end`: the records of the batch; `watermark_s`: 0 before the first event."""

    first: int
    end: int
    watermark_s: int
    planned_at: float


@dataclass(frozen=True, slots=True)
class State:
    """What the stateful operators hold after a batch. `ids`: id → event time at which it is forgotten."""

    groups: dict[Group, tuple[int, ...]] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)


class Checkpoint:
    """One checkpoint folder. `start`: where a query without a commit begins to read the source."""

    def __init__(self, uri: str, start: int) -> None:
        self.uri = uri
        self.start = start
        self.plans: list[Plan] = []
        self.commits: list[int] = []
        self.states: list[State] = []
        self.note: CheckpointNote | None = None
        self.told = (-1, 0)
        """(batch, watermark) that readers were told last."""

    @property
    def committed_end(self) -> int:
        """Records before this one were consumed for good."""
        return self.plans[len(self.commits) - 1].end if self.commits else self.start

    @property
    def next_watermark_s(self) -> int:
        return self.commits[-1] if self.commits else 0


class AnotherQuery(Exception):
    """A log of the checkpoint has this batch already: another query wrote it."""


class Query:
    """One run of the query. Trap: it reads the logs when it begins, and then goes by what it remembers.

    One that hung while another took its place still wants to plan the batch that came next for it: refused.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._number = len(checkpoint.commits)
        self._is_planned = len(checkpoint.plans) > self._number

    def plan(self, upto: int | None, appended: int, now_s: float) -> int:
        """Number of the batch to run: the one left unfinished, or the next, over at most `upto` of what is there."""
        if not self._is_planned:
            if len(self._checkpoint.plans) != self._number:
                raise AnotherQuery(f"offsets/{self._number}")
            first = self._checkpoint.committed_end
            end = appended if upto is None else min(first + upto, appended)
            self._checkpoint.plans.append(Plan(first, end, self._checkpoint.next_watermark_s, now_s))
            self._is_planned = True
        return self._number

    def commit(self, state: State, watermark_s: int) -> None:
        if len(self._checkpoint.commits) != self._number:
            raise AnotherQuery(f"commits/{self._number}")
        self._checkpoint.commits.append(watermark_s)
        self._checkpoint.states.append(state)
        self._number, self._is_planned = self._number + 1, False


@dataclass(frozen=True, slots=True)
class Ran:
    """What one batch gave. `rows`: the groups that it touched, with their whole state."""

    state: State
    rows: pa.Table
    facts: BatchFacts
    next_watermark_s: int
    accepted: tuple[Event, ...]


def run_batch(checkpoint: Checkpoint, number: int, source: Sequence[Event], metrics: Sequence[Metric]) -> Ran:
    """Compute a planned batch from the state after the one before it; nothing is stored."""
    plan = checkpoint.plans[number]
    late_through = checkpoint.plans[number - 1].watermark_s if number else 0
    before = checkpoint.states[number - 1] if number else State()
    records = source[plan.first : plan.end]
    since = checkpoint.note.since if checkpoint.note else None
    counted = [event for event in records if since is None or floor_to(event.at_s, BUCKET_S) >= since]
    groups, ids = dict(before.groups), dict(before.ids)
    accepted: list[Event] = []
    for event in counted:
        bucket = floor_to(event.at_s, BUCKET_S)
        if bucket > late_through and event.id not in ids:
            ids[event.id] = bucket + DELAY_S
            accepted.append(event)
    touched: set[Group] = set()
    for event in accepted:
        touched |= _count(groups, event, metrics)
    buckets = {floor_to(event.at_s, BUCKET_S) for event in records}
    kept = {group: held for group, held in groups.items() if group[2] + group[1] > plan.watermark_s}
    known = {each: end for each, end in ids.items() if end > plan.watermark_s}
    return Ran(
        State(kept, known),
        to_table((group, groups[group]) for group in sorted(touched)),
        _facts(number, plan, late_through, records, buckets),
        max(plan.watermark_s, max((floor_to(event.at_s, BUCKET_S) for event in counted), default=0) - DELAY_S),
        tuple(accepted),
    )


def _count(groups: dict[Group, tuple[int, ...]], event: Event, metrics: Sequence[Metric]) -> set[Group]:
    minute = (EVENTS_FAMILY, EVENTS_WINDOW_S, floor_to(event.at_s, EVENTS_WINDOW_S), b"")
    groups[minute] = (groups.get(minute, (0,))[0] + 1,)
    touched = {minute}
    for metric in metrics:
        for cell in cells(metric, event):
            group = (metric.family, *cell)
            groups[group] = fold(metric, groups.get(group), event)
            touched.add(group)
    return touched


def _facts(number: int, plan: Plan, late_through: int, records: Sequence[Event], buckets: set[int]) -> BatchFacts:
    return BatchFacts(
        batch=number,
        late_through=late_through,
        watermark=plan.watermark_s or None,
        planned_at=plan.planned_at,
        valid=len(records),
        max_event_time=max((float(event.at_s) for event in records), default=None),
        received_through=max((event.received_s for event in records), default=None),
        buckets=tuple(buckets),
    )


def to_table(groups: Iterable[tuple[Group, tuple[int, ...]]]) -> pa.Table:
    """Groups in the columns of `aggregate_state`, as far as the simulation's metrics use them."""
    columns: dict[str, list[Any]] = {name: [] for name in ("family", "part", "wlen", "start", "dims_key", *_SLOTS)}
    for (family, length, start, key), partial in groups:
        row = dict.fromkeys(_SLOTS) | _slots(family, partial)
        row |= {"family": family, "part": 0, "wlen": length, "start": start, "dims_key": key.decode()}
        for name, column in columns.items():
            column.append(row[name])
    types = dict.fromkeys(columns, pa.int64()) | {"family": pa.string(), "dims_key": pa.string()}
    return pa.table({name: pa.array(column, types[name]) for name, column in columns.items()})


def _slots(family: str, partial: tuple[int, ...]) -> dict[str, Any]:
    if family == EVENTS_FAMILY:
        return {"long_sum0": partial[0]}
    if family.startswith("totals"):
        return {"long_sum0": 0, "long_sum1": partial[0], "long_sum2": partial[1]}
    return {"long_max0": partial[0], "long_sum0": partial[1]}


def check_slots(totals: Metric, peaks: Metric) -> None:
    """The columns above are where the product deals these metrics' state."""
    assert unslot(totals, 0) == {"c0_hi": "long_sum0", "c0_lo": "long_sum1", "c1_n": "long_sum2"}
    assert unslot(peaks, 0) == {"c0_max": "long_max0", "c1_n": "long_sum0"}


class LogInMemory(CheckpointLog):
    """The logs of a checkpoint of the model."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.uri = checkpoint.uri
        self._checkpoint = checkpoint

    def last_commit(self) -> Commit | None:
        batch = len(self._checkpoint.commits) - 1
        if batch < 0:
            return None
        plan = self._checkpoint.plans[batch]
        return Commit(batch, plan.watermark_s, self._checkpoint.commits[batch], plan.planned_at)

    def is_settled(self) -> bool:
        return len(self._checkpoint.plans) == len(self._checkpoint.commits)

    def end_offset(self, batch: int) -> dict[str, Any] | None:
        return position(self._checkpoint.plans[batch].end)


class NoteInMemory(NoteFile):
    """The note of a checkpoint of the model; replaced as a whole, as the file is."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._uri = checkpoint.uri
        self._checkpoint = checkpoint

    def read(self) -> CheckpointNote | None:
        return self._checkpoint.note

    def write(self, note: CheckpointNote) -> None:
        self._checkpoint.note = replace(note)


def position(end: int) -> dict[str, Any]:
    """A source position: records before `end`, in the form of a topic with one partition."""
    return {CONTRACT.name: {"0": end}}


def consumed(held: dict[str, Any]) -> int:
    """The other way round; an empty position is the beginning."""
    return int(held.get(CONTRACT.name, {}).get("0", 0))
