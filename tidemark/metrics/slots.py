"""The universal slot layout: the fixed accumulators of the stateful query, and where each metric's state lives.

The stream groups once for all metrics, so its state schema must not know them. Every row brings the same slots, each
with its aggregate; a metric's state columns are dealt onto them. What does not fit one row takes another (`part`).
The layout is part of the checkpoint: a changed one is refused by Spark on restart, which is why all accumulators are
here from day one.
"""

from dataclasses import dataclass

from tidemark.metrics.model import Metric
from tidemark.metrics.state import StateColumn, state_columns


@dataclass(frozen=True, slots=True)
class Slot:
    """One input column of the universal row and the aggregates that fold it into state columns."""

    name: str
    spark_type: str
    aggregates: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the aggregated columns."""
        return (self.name,) if len(self.aggregates) == 1 else tuple(f"{self.name}_{a}" for a in self.aggregates)


def _slots(prefix: str, count: int, spark_type: str, *aggregates: str) -> tuple[Slot, ...]:
    return tuple(Slot(f"{prefix}{i}", spark_type, aggregates) for i in range(count))


SLOTS_EXACT: tuple[Slot, ...] = (
    *_slots("long_sum", 6, "bigint", "sum"),
    *_slots("double_sum", 3, "double", "sum"),
    *_slots("long_min", 1, "bigint", "min"),
    *_slots("long_max", 1, "bigint", "max"),
    *_slots("double_min", 1, "double", "min"),
    *_slots("double_max", 1, "double", "max"),
    *_slots("moments", 1, "double", "count", "avg", "var_pop"),
)
SLOTS_SKETCH: tuple[Slot, ...] = (
    *SLOTS_EXACT,
    *_slots("hll", 1, "string", "hll"),
    *_slots("kll", 1, "double", "kll"),
)
LAYOUTS: dict[str, tuple[Slot, ...]] = {"exact": SLOTS_EXACT, "sketch": SLOTS_SKETCH}
"""lane → its slots."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one state column lives: in the row `part`, aggregated column `output`, fed through `slot`."""

    column: StateColumn
    part: int
    slot: Slot
    output: str


def place(metric: Metric) -> tuple[Placement, ...]:
    """Deal a metric's state columns onto slots, first fit, components in order."""
    layout = LAYOUTS[metric.lane]
    taken: set[tuple[int, str]] = set()
    placements: list[Placement] = []
    for index, component in enumerate(metric.components):
        columns = state_columns(component, index)
        if len({column.input_sql for column in columns}) == 1:
            groups = [columns]
        else:
            groups = [(column,) for column in columns]
        for group in groups:
            part, slot = _first_free(layout, taken, tuple(column.aggregate for column in group), group[0].spark_type)
            taken.add((part, slot.name))
            placements += [Placement(c, part, slot, o) for c, o in zip(group, slot.outputs, strict=True)]
    return tuple(placements)


def _first_free(
    layout: tuple[Slot, ...], taken: set[tuple[int, str]], aggregates: tuple[str, ...], spark_type: str
) -> tuple[int, Slot]:
    fitting = [slot for slot in layout if slot.aggregates == aggregates and _fits(slot, spark_type)]
    part = 0
    while True:
        for slot in fitting:
            if (part, slot.name) not in taken:
                return part, slot
        part += 1


def _fits(slot: Slot, spark_type: str) -> bool:
    return len(slot.aggregates) > 1 or slot.spark_type == spark_type or spark_type == "binary"


@dataclass(frozen=True, slots=True)
class SlotRow:
    """One exploded row of an event: which slots it feeds, with which SQL; the others are NULL."""

    part: int
    inputs: dict[str, str]


def slot_rows(metric: Metric) -> tuple[SlotRow, ...]:
    """The rows that one event contributes per window, one per part."""
    placements = place(metric)
    parts = sorted({placement.part for placement in placements})
    return tuple(
        SlotRow(part, {p.slot.name: p.column.input_sql for p in placements if p.part == part}) for part in parts
    )


def unslot(metric: Metric, part: int) -> dict[str, str]:
    """State column → aggregated slot column, for one part."""
    return {p.column.name: p.output for p in place(metric) if p.part == part}
