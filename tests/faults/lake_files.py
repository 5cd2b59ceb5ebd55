"""What a lake's tables name and what is there; and how to make it old, without waiting for a week."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from spark_jobs.ledgers import latest_publications
from tidemark.keys import LakeTables

_AGED = ("deletionTimestamp", "timestamp", "modificationTime")


def tables(lake: Path) -> list[Path]:
    return sorted(log.parent for log in lake.rglob("_delta_log"))


def missing_files(lake: Path) -> list[str]:
    """Data files that the newest version of a table, or the one that a publication in force pins, names and lacks."""
    names = LakeTables(str(lake))
    pinned = [(Path(names.gold(name)), each.gold_version) for name, each in latest_publications(names).items()]
    wanted = [(table, None) for table in tables(lake)] + [pin for pin in pinned if pin[1] is not None]
    return [
        f"{table.name}@{version}: {file}"
        for table, version in wanted
        for file in DeltaTable(str(table), version=version).file_uris()
        if not Path(file).exists()
    ]


def make_older(lake: Path, days: int) -> None:
    """Everything that is there happened `days` earlier, by the logs and by the file system."""
    for table in tables(lake):
        for log in (table / "_delta_log").glob("*.json"):
            lines = [_older(json.loads(line), days * 86_400_000) for line in log.read_text().splitlines()]
            log.write_text("".join(json.dumps(line) + "\n" for line in lines))
            (log.parent / f".{log.name}.crc").unlink(missing_ok=True)
        for file in _files(table):
            os.utime(file, (time.time() - days * 86_400,) * 2)


def _files(table: Path) -> Iterator[Path]:
    return (path for path in table.rglob("*") if path.is_file())


def _older(action: dict[str, Any], by_ms: int) -> dict[str, Any]:
    for body in action.values():
        for name in _AGED:
            if isinstance(body.get(name), int):
                body[name] -= by_ms
    return action
