"""bronze → silver: valid, typed, masked events, one row per event id over all time. Incremental and exactly once.

Of one id arriving twice the first arrival wins (`classify.py`); a duplicate is only counted, a conflict goes to
`bronze/quarantine` (stage `conflict`).

Exactly once: both appends carry the bronze version up to which they consumed as Delta's transaction version, and the
quarantine comes first. A run that died between the two is found by the quarantine being ahead of silver: the next run
repeats exactly that range, of which the quarantine then skips its part.

The gate stands before the append: rows that it refuses stay in bronze and are checked again by the next run.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from conf.settings import Settings
from quality.gate import GateResult
from runtime.commit_lock import sole_committer
from spark_jobs.batch_lock import sole_job
from spark_jobs.classify import CONFLICT, DUPLICATE, NEW, classify, suspect_ids
from spark_jobs.delta_log import AddedFile, added_files, head_version, open_table, total_rows
from spark_jobs.event_columns import ARRIVAL, ARRIVAL_DDL, fields_ddl, read_files
from spark_jobs.gates import counts_gate, expect_silver, freshness_gate
from spark_jobs.script import SparkSource, contracts_of, run_script, script_arguments
from tidemark.contracts import ContractSet
from tidemark.keys import LakeTables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SilverResult:
    """What one build did to one contract. `version`: Delta version of silver, None while there is no table."""

    contract: str
    version: int | None
    read: int = 0
    added: int = 0
    duplicates: int = 0
    conflicts: int = 0
    gates: tuple[GateResult, ...] = ()

    @property
    def passed(self) -> bool:
        return all(gate.passed for gate in self.gates)


@dataclass(frozen=True, slots=True)
class BronzeRange:
    """The bronze commits in `(after, upto]`, as files. `whole`: the log was cut, these are all files at `upto`."""

    upto: int
    files: Sequence[AddedFile]
    whole: bool = False


def run(spark: SparkSource, settings: Settings, contracts: ContractSet) -> SilverResult:
    """Bring silver up to the newest bronze commit. Spark is asked for only when there is something to read."""
    tables = LakeTables(settings.lake_uri)
    result = SilverResult(contracts.name, head_version(tables.silver(contracts.name)))
    head = head_version(tables.bronze_events(contracts.name))
    while head is not None and (todo := read_pending(tables, contracts.name, head)) is not None:
        step = append_range(spark(), tables, contracts, todo)
        result = replace(
            step,
            read=result.read + step.read,
            added=result.added + step.added,
            duplicates=result.duplicates + step.duplicates,
            conflicts=result.conflicts + step.conflicts,
            gates=result.gates + step.gates,
        )
        if not step.passed:
            return result
    if result.read and head is not None:
        behind = read_pending(tables, contracts.name, head) is not None
        result = replace(result, gates=(*result.gates, freshness_gate(contracts.name, result.read, behind)))
    return result


def read_pending(tables: LakeTables, contract: str, head: int) -> BronzeRange | None:
    """The next range of bronze up to version `head`; None when silver has all of it. Reads logs, not data."""
    silver, quarantine = open_table(tables.silver(contract)), open_table(tables.bronze_quarantine(contract))
    done = silver.transaction_version(_app_id(contract)) if silver else None
    ahead = quarantine.transaction_version(_app_id(contract)) if quarantine else None
    after = -1 if done is None else done
    if after >= head:
        return None
    upto = ahead if ahead is not None and ahead > after else head
    files = added_files(tables.bronze_events(contract), after, upto)
    if files is not None:
        return BronzeRange(upto, files) if files else None
    log.warning("the log of bronze was cut, reading the whole table", contract=contract, after=after)
    pinned = open_table(tables.bronze_events(contract), upto)
    uris = pinned.file_uris() if pinned else []
    return BronzeRange(upto, [AddedFile(uri) for uri in uris], whole=True) if uris else None


def has_pending(tables: LakeTables, contract: str) -> bool:
    """Whether bronze has rows that silver has not consumed."""
    head = head_version(tables.bronze_events(contract))
    return head is not None and read_pending(tables, contract, head) is not None


def append_range(spark: "SparkSession", tables: LakeTables, contracts: ContractSet, todo: BronzeRange) -> SilverResult:
    """Classify one range, gate its new rows, append conflicts, then new rows."""
    name = contracts.name
    spark.sparkContext.setJobDescription(f"silver {name}: bronze up to version {todo.upto}")
    bronze, known = read_bronze(spark, tables, contracts, todo), read_known(spark, tables, contracts)
    with ExitStack() as kept:
        suspects = _keep(suspect_ids(bronze, known, contracts), kept)
        suspects.count()  # Spark has to know that they are few: else it begins to shuffle all rows to join them.
        found = classify(bronze, known, suspects, contracts)
        judged = _keep(found.judged, kept)
        # Not kept: to build a cache of millions of rows takes longer than to read their columns again for each gate.
        fresh = select_silver(found.new_rows(), contracts)
        counts = {row["verdict"]: int(row["count"]) for row in judged.groupBy("verdict").count().collect()}
        counts[NEW] = fresh.count()
        result = _judged(tables, contracts, todo, counts, fresh)
        if not result.passed:
            return replace(result, added=0)
        if result.conflicts:
            write_conflicts(judged.where(f"verdict = '{CONFLICT}'"), tables, contracts, todo.upto)
        write_silver(fresh, tables.silver(name), name, todo.upto)
        return replace(result, version=head_version(tables.silver(name)))


def _keep(rows: "DataFrame", kept: ExitStack) -> "DataFrame":
    """Persist until the stack ends."""
    kept.callback(rows.persist().unpersist)
    return rows


def _judged(
    tables: LakeTables, contracts: ContractSet, todo: BronzeRange, counts: Mapping[str, int], fresh: "DataFrame"
) -> SilverResult:
    """Counts and gates of one range; nothing is written yet."""
    name, new = contracts.name, counts[NEW]
    logged = None if todo.whole else total_rows(todo.files)
    gates = (counts_gate(name, counts, logged), *((expect_silver(fresh, contracts),) if new else ()))
    return SilverResult(
        name,
        head_version(tables.silver(name)),
        sum(counts.values()),
        new,
        counts.get(DUPLICATE, 0),
        counts.get(CONFLICT, 0),
        gates,
    )


def read_bronze(spark: "SparkSession", tables: LakeTables, contracts: ContractSet, todo: BronzeRange) -> "DataFrame":
    """One row per event that arrived in the range; without those whose conflict is already in quarantine."""
    ddl = f"{fields_ddl(contracts)}, {ARRIVAL_DDL}, `raw` STRING, `contract_version` INT"
    rows = read_files(spark, tables.bronze_events(contracts.name), todo.files, ddl)
    if not todo.whole or open_table(tables.bronze_quarantine(contracts.name)) is None:
        return rows
    quarantine = spark.read.format("delta").load(tables.bronze_quarantine(contracts.name))
    return rows.join(quarantine.where("stage = 'conflict'").select(*ARRIVAL[1:]), list(ARRIVAL[1:]), "left_anti")


def read_known(spark: "SparkSession", tables: LakeTables, contracts: ContractSet) -> "DataFrame | None":
    """(id, payload hash) of every event in silver."""
    if open_table(tables.silver(contracts.name)) is None:
        return None
    silver = spark.read.format("delta").load(tables.silver(contracts.name))
    return silver.selectExpr(f"`{contracts.newest.dedupe}` AS known_id", "payload_hash AS known_hash")


def select_silver(rows: "DataFrame", contracts: ContractSet) -> "DataFrame":
    """The columns of silver; id and event time first, so that Delta keeps statistics of them."""
    newest = contracts.newest
    first = [newest.dedupe, newest.event_time]
    names = [*first, *(field.name for field in contracts.columns if field.name not in first)]
    return rows.select(
        *(f"`{name}`" for name in names),
        *ARRIVAL,
        "contract_version",
        "payload_hash",
        rows[newest.event_time].cast("date").alias("event_date"),
    )


def write_conflicts(rows: "DataFrame", tables: LakeTables, contracts: ContractSet, upto: int) -> None:
    """Append the losers of conflicts to the quarantine, once per bronze version."""
    from pyspark.sql import functions as F

    uri = tables.bronze_quarantine(contracts.name)
    reason = F.array(F.lit(f"{contracts.newest.dedupe}:conflict"))
    complete = rows.select(
        "raw",
        F.lit(None).cast("binary").alias("raw_bytes"),
        reason.alias("reasons"),
        *ARRIVAL,
        F.lit("conflict").alias("stage"),
        "contract_version",
        F.to_date("received_at").alias("ingest_date"),
    )
    with sole_committer(uri):  # the stream appends broken records there
        table = open_table(uri)
        names = [field.name for field in table.schema().fields] if table else complete.columns
        by = table.metadata().partition_columns if table else ["ingest_date"]
        known = complete.select(*(name for name in complete.columns if name in names))
        _append(known, uri, contracts.name, upto, by, {})


def write_silver(rows: "DataFrame", uri: str, contract: str, upto: int) -> None:
    """Append new rows, once per bronze version. Statistics of id and event time alone: they cost time per column."""
    _append(rows, uri, contract, upto, ["event_date"], {"delta.dataSkippingNumIndexedCols": "2"})


def _append(
    rows: "DataFrame", uri: str, contract: str, upto: int, partition_by: Sequence[str], table: Mapping[str, str]
) -> None:
    """`table`: properties of the table, in force when this creates it."""
    options = {"mergeSchema": "true", "txnAppId": _app_id(contract), "txnVersion": str(upto), **table}
    options["delta.enableDeletionVectors"] = "false"
    rows.write.format("delta").mode("append").options(**options).partitionBy(*partition_by).save(uri)


def _app_id(contract: str) -> str:
    return f"silver:{contract}"


def main(argv: Sequence[str] | None = None) -> None:
    """`build_silver.py [--env E] [CONTRACT…]`. Refuses beside a running batch."""
    arguments = script_arguments(__doc__, argv)

    def job(spark: SparkSource, settings: Settings) -> bool:
        with sole_job(settings):
            results = [run(spark, settings, contracts) for contracts in contracts_of(settings, arguments.names)]
        for result in results:
            print(result)
        return all(result.passed for result in results)

    sys.exit(run_script("silver", arguments, job))


if __name__ == "__main__":
    main()
