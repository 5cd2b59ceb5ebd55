"""The quick check: of many records at once, the events of those that are certainly valid.

DuckDB reads JSON in vectors, many times faster than record by record. It is no judge: its reader is more lenient than
ours (a comma too many, NaN, the first of a repeated key), so whatever is in doubt is left out here and judged by
`record_check`. Nothing depends on what this check knows but speed.
"""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from quality.masking import SEPARATOR
from quality.quick_statement import ROW, Statement, Unsupported
from tidemark.contracts import Contract, ContractSet, Field

__all__ = ["RECORDS", "ROW", "QuickCheck", "Unsupported"]

RECORDS = pa.schema([("row", pa.int64()), ("text", pa.string()), ("received_at", pa.timestamp("us", "UTC"))])
"""What is checked. `row`: number of the record, ascending."""


class QuickCheck:
    """Of one version of a contract. `columns`: those fields of the set that are wanted. Raises Unsupported."""

    def __init__(self, contract: Contract, contract_set: ContractSet, columns: Sequence[Field]) -> None:
        self._sql = Statement(contract, is_newest=contract is contract_set.newest).text(columns)
        self._is_masked = "$mask" in self._sql
        try:
            self._none = self._select(RECORDS.empty_table(), "")
        except duckdb.Error as error:
            raise Unsupported(str(error)) from error

    def certain(self, records: pa.Table, key: str) -> pa.Table:
        """`ROW` and the columns, typed and masked with `key`, of the records that are certainly valid, in order."""
        try:
            return self._select(records, key)
        except duckdb.Error:
            return self._none  # no record may stop the query; all of these are judged one by one

    def _select(self, records: pa.Table, key: str) -> pa.Table:
        connection = _connection()
        connection.register("records", records)
        try:
            params = {"mask": f"{key}{SEPARATOR}"} if self._is_masked else None
            return connection.sql(self._sql, params=params).to_arrow_table()
        finally:
            connection.unregister("records")


_connections: list[duckdb.DuckDBPyConnection] = []


def _connection() -> duckdb.DuckDBPyConnection:
    """One a process, with one thread: Spark runs as many processes as it has task threads.

    Without optimiser: as they are written, the steps of a statement are in the best order already.
    """
    if not _connections:
        connection = duckdb.connect(config={"threads": 1})
        connection.execute("PRAGMA disable_optimizer")
        _connections.append(connection)
    return _connections[0]
