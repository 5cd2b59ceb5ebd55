"""The fence of the lake: of two lake writers, only the one whose checkpoint began last can append to bronze.

Delta keeps the newest transaction of an application with the table, skips an append that is not newer, and fails one
that was under way. So every append carries `epoch, batch` under one name per contract; a checkpoint that begins takes
the next epoch and commits it before it looks at what bronze holds. What its predecessor brought in until then is seen;
what it tries afterwards is refused, however long it had hung.
"""

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from tidemark.errors import LakeUnavailable, StaleWriter
from tidemark.keys import LakeTables

_EPOCH = 1 << 32
"""Transaction version = epoch x this + batch + 1; the epoch's own claim has no batch. Delta's versions have 63 bits."""


class LakeFence:
    """The bronze tables of one contract, as far as they exist: a table that is made later needs no fence before."""

    def __init__(self, tables: LakeTables, contract: str) -> None:
        self.application = f"tidemark:lake:{contract}"
        self._names = (tables.bronze_events(contract), tables.bronze_quarantine(contract))
        self._contract = contract

    def claim(self) -> int:
        """Take the next epoch in every table; from here on, older writers are refused."""
        held = {name: table for name in self._names if (table := open_table(name)) is not None}
        epoch = max((self._epoch_of(table) for table in held.values()), default=0) + 1
        claimed = CommitProperties(app_transactions=[Transaction(self.application, epoch * _EPOCH)])
        for name, table in held.items():
            try:
                nothing = pa.schema(table.schema().to_arrow()).empty_table()
                write_deltalake(name, nothing, mode="append", commit_properties=claimed)
            except (DeltaError, OSError) as error:
                raise LakeUnavailable(f"lake: cannot write {name}: {' '.join(str(error).split())}") from error
        return epoch

    def transaction(self, epoch: int, batch: int) -> int:
        """Delta's txnVersion of a micro-batch."""
        return epoch * _EPOCH + batch + 1

    def refuse_older(self, epoch: int) -> None:
        """StaleWriter when a newer checkpoint has begun: Delta alone would skip an append without a word."""
        for name in self._names:
            table = open_table(name)
            if table is not None and self._epoch_of(table) > epoch:
                raise StaleWriter(f"{self._contract}/lake: a newer stream has taken over the lake")

    def _epoch_of(self, table: DeltaTable) -> int:
        return (table.transaction_version(self.application) or 0) // _EPOCH


def open_table(uri: str) -> DeltaTable | None:
    """None when there is no such table. Raises LakeUnavailable."""
    try:
        return DeltaTable(uri) if DeltaTable.is_deltatable(uri) else None
    except (DeltaError, OSError) as error:
        raise LakeUnavailable(f"lake: cannot read {uri}: {' '.join(str(error).split())}") from error
