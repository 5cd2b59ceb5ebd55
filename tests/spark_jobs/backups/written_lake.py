"""A lake that goes on being written, as stream and batch commit to it, without Spark: what backups are taken of."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from spark_jobs.delta_log import head_version, open_table
from spark_jobs.ledgers import commit_publications, latest_publications
from tidemark.keys import LakeTables
from tidemark.publication import Publication

NOW = 1_795_557_600.0


class WrittenLake:
    """Bronze, silver, gold, publication, late ledger."""

    def __init__(self, uri: str) -> None:
        self.tables = LakeTables(uri)
        self.version = 0

    def stream(self) -> None:
        append(self.tables.bronze_events("access"))
        append(self.tables.bronze_quarantine("access"))

    def batch(self) -> None:
        """Silver takes what bronze has, gold counts silver, the publication names both."""
        tables, self.version = self.tables, self.version + 1
        bronze = head_version(tables.bronze_events("access"))
        assert bronze is not None
        rows = count_rows(tables.bronze_events("access"), bronze) - count_rows(tables.silver("access"))
        append(tables.silver("access"), rows, ("silver:access", bronze))
        silver = head_version(tables.silver("access"))
        counted = pa.table({"silver_rows": [count_rows(tables.silver("access"), silver)]})
        write_deltalake(tables.gold("device_access"), counted, mode="overwrite")
        gold = head_version(tables.gold("device_access"))
        commit_publications(tables, [_publication(self.version, gold, silver)])
        assert silver is not None
        append(tables.late, 1, ("late:access", silver))


def append(uri: str, rows: int = 1, transaction: tuple[str, int] | None = None) -> None:
    properties = CommitProperties(app_transactions=[Transaction(*transaction)]) if transaction else None
    write_deltalake(uri, pa.table({"n": list(range(rows))}), mode="append", commit_properties=properties)


def count_rows(uri: str, version: int | None = None) -> int:
    table = open_table(uri, version)
    return 0 if table is None else int(table.to_pyarrow_table().num_rows)


def _publication(version: int, gold: int | None, silver: int | None) -> Publication:
    return Publication(
        metric="device_access",
        family="device_access@1",
        version=version,
        sealed_through=0,
        gold_version=gold,
        silver_version=silver,
        gate="passed",
        published_at=0.0,
        hot_from=0,
        runs=(),
        definition={},
    )


def assert_consistent(uri: str) -> Publication:
    """Every version that a table of the lake refers to is there, and holds what it held."""
    tables = LakeTables(uri)
    publication = latest_publications(tables)["device_access"]
    assert publication.silver_version is not None
    counted = DeltaTable(tables.gold("device_access"), version=publication.gold_version).to_pyarrow_table()
    assert counted.column("silver_rows").to_pylist() == [
        count_rows(tables.silver("access"), publication.silver_version)
    ]
    silver, bronze = DeltaTable(tables.silver("access")), DeltaTable(tables.bronze_events("access"))
    consumed = silver.transaction_version("silver:access")
    assert consumed is not None
    assert consumed <= bronze.version()
    assert count_rows(tables.silver("access")) == count_rows(tables.bronze_events("access"), consumed)
    late = open_table(tables.late)
    assert late is None or (late.transaction_version("late:access") or 0) <= silver.version()
    return publication


def run_and_die(place: str, *arguments: str) -> int:
    """`tidemark ARGUMENTS` in a process of its own that ends by SIGKILL at a place (see tests/faults/driver.py)."""
    command = [sys.executable, "-m", "tests.faults.driver", place, "--", *arguments]
    return subprocess.run(
        command, cwd=Path(__file__).parents[3], capture_output=True, timeout=120, check=False
    ).returncode
