"""`gold/_late`: per contract and minute, how many events are valid and how many of them the speed layer accepted.

Exact where Spark's own metric is not: late = Σ (valid - accepted) over minutes that the watermark has passed. `valid`
is what silver holds; `accepted` is the speed layer's own count, moved here from Redis once its minute is sealed and
the watermark has passed it, for then it can no longer grow. One row per (contract, minute), replaced when either moves.
`minute` is its start in epoch seconds.
"""

from collections.abc import Mapping

import pyarrow as pa
import redis
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import DeltaError

from spark_jobs.added_minutes import count_added, count_all
from spark_jobs.delta_log import open_table
from tidemark import keys
from tidemark.contracts import ContractSet
from tidemark.errors import LakeUnavailable
from tidemark.keys import LakeTables
from tidemark.progress import Progress

LATE = pa.schema(
    [
        ("contract", pa.string()),
        ("minute", pa.int64()),
        ("valid", pa.int64()),
        ("accepted", pa.int64()),
    ]
)
Counts = dict[int, tuple[int, int]]
"""minute start → (valid, accepted)"""


def update_late(
    client: "redis.Redis", tables: LakeTables, contracts: ContractSet, silver_version: int | None, sealed_through: int
) -> int:
    """Bring the ledger up to a silver version and fold what speed accepted; returns the minutes that changed.

    The lake first, then Redis: a kill in between folds the same absolute counts again.
    """
    if silver_version is None:
        return 0
    counts, consumed = _read(tables, contracts.name)
    before = dict(counts)
    if consumed is None or consumed < silver_version:
        _add_valid(counts, tables, contracts, consumed, silver_version)
    folded = _accepted_below(client, contracts.name, sealed_through)
    for minute, accepted in folded.items():
        counts[minute] = (counts.get(minute, (0, 0))[0], accepted)
    changed = {minute: pair for minute, pair in counts.items() if before.get(minute) != pair}
    if changed:
        _write(tables, contracts.name, changed, silver_version)
    if folded:
        client.hdel(keys.accepted(contracts.name), *map(str, folded))
    return len(changed)


def _read(tables: LakeTables, contract: str) -> tuple[Counts, int | None]:
    table = open_table(tables.late)
    if table is None:
        return {}, None
    rows = table.to_pyarrow_table(filters=[("contract", "=", contract)])
    minutes = rows.column("minute").to_pylist()
    pairs = zip(rows.column("valid").to_pylist(), rows.column("accepted").to_pylist(), strict=True)
    return dict(zip(minutes, pairs, strict=True)), table.transaction_version(_app_id(contract))


def _add_valid(counts: Counts, tables: LakeTables, contracts: ContractSet, consumed: int | None, upto: int) -> None:
    added = count_added(tables, contracts, -1 if consumed is None else consumed, upto)
    if added is None:  # the log was cut: count afresh
        for minute, (_, accepted) in list(counts.items()):
            counts[minute] = (0, accepted)
        added = count_all(tables, contracts, upto)
    for minute, events in added.items():
        valid, accepted = counts.get(minute, (0, 0))
        counts[minute] = (valid + events, accepted)


def _accepted_below(client: "redis.Redis", contract: str, sealed_through: int) -> Mapping[int, int]:
    """Accepted counts of minutes that are sealed and that the watermark has passed."""
    text = client.get(keys.progress(contract, "exact"))
    watermark = Progress.from_json(text).watermark if isinstance(text, bytes) else None
    if watermark is None:
        return {}
    limit = min(watermark, sealed_through)
    accepted: dict[bytes, bytes] = client.hgetall(keys.accepted(contract))  # type: ignore[assignment]
    counts = {int(minute): int(events) for minute, events in accepted.items()}
    return {minute: events for minute, events in counts.items() if minute + keys.EVENTS_WINDOW_S <= limit}


def _write(tables: LakeTables, contract: str, changed: Counts, silver_version: int) -> None:
    rows = pa.Table.from_pylist(
        [
            {"contract": contract, "minute": minute, "valid": valid, "accepted": accepted}
            for minute, (valid, accepted) in sorted(changed.items())
        ],
        schema=LATE,
    )
    commit = CommitProperties(app_transactions=[Transaction(_app_id(contract), silver_version)])
    try:
        table = open_table(tables.late)
        if table is None:
            write_deltalake(tables.late, rows, partition_by=["contract"], commit_properties=commit)
        else:
            _merge(table, rows, contract, commit)
    except (DeltaError, OSError) as error:
        raise LakeUnavailable(f"lake: cannot write {tables.late}: {' '.join(str(error).split())}") from error


def _merge(table: DeltaTable, rows: pa.Table, contract: str, commit: CommitProperties) -> None:
    same = f"t.contract = '{contract}' AND t.contract = s.contract AND t.minute = s.minute"
    merge = table.merge(rows, same, source_alias="s", target_alias="t", commit_properties=commit)
    merge.when_matched_update_all().when_not_matched_insert_all().execute()


def _app_id(contract: str) -> str:
    return f"late:{contract}"
