"""What a lake's tables name, and what is there."""

from pathlib import Path

from deltalake import DeltaTable

from spark_jobs.ledgers import latest_publications
from tidemark.keys import LakeTables


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
