"""Whether a deployment's answers equal its ledger, for more events than the tests' oracle could hold in memory.

Recomputed by DuckDB from the ledger's JSON alone: nothing of Tidemark's own code takes part in what is expected.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from bench.deployment import TIDEMARK, Deployment
from bench.report import Report
from tidemark.windows import iso

_EXPECTED = """
CREATE TABLE expected AS
SELECT CAST(floor(epoch(CAST("timestamp" AS TIMESTAMPTZ)) / 600) AS BIGINT) * 600 AS start, device_id,
       sum(access_count) / count(*) AS average, count(*) AS events
FROM read_json(?, format = 'newline_delimited',
               columns = {'timestamp': 'VARCHAR', 'device_id': 'VARCHAR', 'access_count': 'BIGINT'}) GROUP BY ALL
"""
_ANSWERED = """
CREATE TABLE answered AS
SELECT CAST(epoch(CAST(start AS TIMESTAMPTZ)) AS BIGINT) AS start, device_id,
       avg_access AS average, total_users AS events
FROM read_json(?, format = 'newline_delimited',
               columns = {'start': 'VARCHAR', 'device_id': 'VARCHAR', 'avg_access': 'DOUBLE', 'total_users': 'BIGINT'})
"""
_DIFFERENT = """
SELECT count(*) FROM expected FULL JOIN answered USING (start, device_id)
WHERE expected.events IS DISTINCT FROM answered.events
   OR (abs(expected.average - answered.average) <= 1e-9 * abs(expected.average)) IS NOT TRUE
"""


@dataclass(frozen=True)
class Exactness:
    """`points`: in the ledger. `different`: missing, too many, or of another value. `counts`: what `status` says."""

    events: int
    points: int
    different: int
    complete: bool
    counts: dict[str, int]

    def judge(self, report: Report) -> None:
        """The goals: (R) and (C)."""
        counts = self.counts
        parts = counts["valid"] + counts["quarantined"] + counts["duplicates"]
        report.at_most("points that differ from the ledger", 0, self.different)
        report.at_most("answers that call themselves incomplete", 0, int(not self.complete))
        report.at_most("events lost or counted twice", 0, abs(counts["valid"] - self.events))
        report.at_most("records that are in no count, or in two", 0, abs(counts["received"] - parts))


def check(deployment: Deployment, ledger: Path) -> Exactness:
    """Compare device_access by device and 10 minutes over all of the ledger, and the counts."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(_EXPECTED, [str(ledger)])
        points, events, start, end = _row(
            connection, "SELECT count(*), sum(events), min(start), max(start) FROM expected"
        )
        asked = ["--group-by", "device_id", "--window", "10m", "--from", iso(start), "--to", iso(end + 600)]
        answer = ask(deployment, "query", "device_access", *asked)
        found = deployment.folder / "answered.ndjson"
        found.write_text("\n".join(json.dumps({**p, **p["dims"], **p["values"]}) for p in answer["points"]) + "\n")
        connection.execute(_ANSWERED, [str(found)])
        (different,) = _row(connection, _DIFFERENT)
    counts = ask(deployment, "status", "--json")["contracts"]["access"]
    return Exactness(int(events), int(points), int(different), bool(answer["complete"]), counts)


def ask(deployment: Deployment, *arguments: str) -> Any:
    """The JSON document that a command prints."""
    return json.loads(deployment.output([str(TIDEMARK), *arguments], 900))


def _row(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row
