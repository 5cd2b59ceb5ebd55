"""The parity report of a metric, from the lake."""

from datetime import datetime
from typing import Any

import pyarrow.compute as pc

from serving.lake_reader import LakeReader
from tidemark.keys import LakeTables
from tidemark.windows import iso

ROWS_LIMIT = 1000


def read_parity(lake: LakeReader, tables: LakeTables, metric: str) -> list[dict[str, Any]]:
    """Rows of `gold/_parity` of one metric, newest version first; one per batch and window length."""
    rows = lake.rows(tables.parity, None, pc.field("metric") == metric)
    if rows is None:
        return []
    newest = sorted(rows.to_pylist(), key=lambda row: (row["version"], row["window"]), reverse=True)[:ROWS_LIMIT]
    return [{name: iso(v) if isinstance(v, datetime) else v for name, v in row.items()} for row in newest]
