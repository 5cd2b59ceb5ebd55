"""Which state columns the batch accumulates, and what the others follow from. Pure.

Each accumulated column costs in every slice of a granule. A count of all events is what the groups count anyway; the
high half of an integer sum is 0 where the contract keeps the values in [0, 2³²). The gate of totals compares both with
what silver holds, so that a row outside its contract blocks the publication and is not summed wrong.
"""

from tidemark.contracts import ContractSet
from tidemark.fields import Field
from tidemark.metrics.model import Kind, Metric
from tidemark.metrics.state import StateColumn, metric_state, state_columns

_LOW_HALF = 1 << 32


def split_state(metric: Metric, contracts: ContractSet, events: str) -> tuple[list[StateColumn], dict[str, str]]:
    """The columns to accumulate, and every other one's SQL over groups; `events`: the groups' own count of events."""
    small = _small_columns(contracts)
    implied = {}
    for index, component in enumerate(metric.components):
        columns = state_columns(component, index)
        if component.kind is Kind.COUNT and component.sql == "1L":
            implied[columns[0].name] = f"`{events}`"
        elif component.kind is Kind.SUM_INT and component.sql in small:
            high, low = columns
            implied[high.name] = f"IF(`{low.name}` IS NULL, NULL, 0L)"
    return [column for column in metric_state(metric) if column.name not in implied], implied


def _small_columns(contracts: ContractSet) -> set[str]:
    """SQL of the long columns that every version of the contract which has them keeps in [0, 2³²)."""
    fields = [field for version in contracts.versions for field in version.fields]
    return {f"`{field.name}`" for field in fields} - {f"`{field.name}`" for field in fields if not _is_small(field)}


def _is_small(field: Field) -> bool:
    if field.type.kind != "long" or field.rules.between is None:
        return False
    least, most = field.rules.between
    return least is not None and most is not None and least >= 0 and most < _LOW_HALF
