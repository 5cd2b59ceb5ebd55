"""Maintenance of the lake: compaction, clean-up of files no reader can name any more, and deletion after `cold`.

OPTIMIZE rewrites the days of gold that changed, sorted by the first dimension in row groups of 8,192 rows, so that one
entity's history is read in milliseconds. It changes the Delta version but no row, and publications stay pinned to the
older version until the next batch, so VACUUM keeps what any publication in force pins, and never looks closer than
seven days back: readers and writers that run may still use what is younger. Deletion after `cold` goes by the wall
clock, and is published before it is done: answers say that the range has expired, instead of showing nothing there.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import structlog
from deltalake import DeltaTable, WriterProperties
from deltalake.exceptions import DeltaError

from conf.settings import Settings
from spark_jobs.batch_lock import sole_job
from spark_jobs.delta_log import files_at, open_table
from spark_jobs.ledgers import commit_publications, latest_publications
from spark_jobs.script import SparkSource, registry_of, run_script, script_arguments
from tidemark.errors import LakeUnavailable
from tidemark.keys import LakeTables
from tidemark.metrics.model import Metric
from tidemark.metrics.registry import Registry
from tidemark.publication import Publication
from tidemark.windows import epoch_seconds

log = structlog.get_logger()
ROW_GROUP_ROWS = 8_192
KEEP_HOURS = 168
"""Seven days: the least that VACUUM may keep."""


@dataclass(frozen=True, slots=True)
class Maintained:
    """What was (with a dry run: would be) done to one table."""

    table: str
    rewritten_files: int = 0
    vacuumed_files: int = 0
    deleted_before: str | None = None


def run(settings: Settings, registry: Registry, now: float, dry_run: bool) -> list[Maintained]:
    """Gold of every metric, then silver and bronze of every contract. `now`: wall-clock seconds, for `cold`.

    LakeUnavailable when a table cannot be written, also when another job has changed it meanwhile.
    """
    try:
        return _maintain_all(settings, registry, now, dry_run)
    except (DeltaError, OSError) as error:
        raise LakeUnavailable(f"lake: not maintained to the end: {' '.join(str(error).split())}") from error


def _maintain_all(settings: Settings, registry: Registry, now: float, dry_run: bool) -> list[Maintained]:
    tables = LakeTables(settings.lake_uri)
    published = latest_publications(tables)
    pinned = {name: each.gold_version for name, each in published.items()}
    if not dry_run:
        commit_publications(tables, [*_without_expired(tables, registry.metrics, published, now)])
    done = [maintain_gold(tables, metric, pinned.get(name), now, dry_run) for name, metric in registry.metrics.items()]
    for contract in registry.contracts:
        uris = (tables.silver(contract), tables.bronze_events(contract), tables.bronze_quarantine(contract))
        done += [vacuum(uri, [], dry_run) for uri in uris if open_table(uri) is not None]
    return [each for each in done if each is not None]


def _without_expired(
    tables: LakeTables, metrics: Mapping[str, Metric], published: Mapping[str, Publication], now: float
) -> Iterator[Publication]:
    """The publications that say what is about to be deleted. They pin the same gold: until the next batch pins a newer
    one, and moves the pointers in Redis, readers have it all."""
    for name, publication in published.items():
        table = open_table(tables.gold(name)) if name in metrics else None
        if table is None:
            continue
        limit = _kept_since(metrics[name], now)
        if not _has_expired(table, limit):
            continue
        midnight = int(epoch_seconds(datetime(limit.year, limit.month, limit.day, tzinfo=UTC)))
        kept_from = min(midnight, publication.sealed_through)
        if publication.kept_from is None or publication.kept_from < kept_from:
            yield replace(publication, version=publication.version + 1, published_at=now, kept_from=kept_from)


def _kept_since(metric: Metric, now: float) -> date:
    return datetime.fromtimestamp(now - metric.retention.cold_s, UTC).date()


def _has_expired(table: DeltaTable, limit: date) -> bool:
    return any(str(partition["window_date"]) < limit.isoformat() for partition in table.partitions())


def maintain_gold(
    tables: LakeTables, metric: Metric, pinned: int | None, now: float, dry_run: bool
) -> Maintained | None:
    """Delete what is older than `cold`, sort, and clean up one gold table; None when there is no table."""
    uri = tables.gold(metric.name)
    table = open_table(uri)
    if table is None:
        return None
    limit = _kept_since(metric, now)
    expired = _has_expired(table, limit)
    rewritten = 0
    if not dry_run:
        if expired:
            table.delete(f"window_date < '{limit.isoformat()}'")
        rewritten = optimize(table, metric)
    cleaned = vacuum(uri, [] if pinned is None else [pinned], dry_run)
    return Maintained(uri, rewritten, cleaned.vacuumed_files, limit.isoformat() if expired else None)


def optimize(table: DeltaTable, metric: Metric) -> int:
    """Sort the days that were written since the last sort by the first dimension (window start without one), in small
    row groups; returns the files rewritten."""
    days = unsorted_days(table)
    if not days:
        return 0
    column = metric.dims[0].name if metric.dims else "window_start"
    properties = WriterProperties(max_row_group_size=ROW_GROUP_ROWS, compression="ZSTD")
    facts = table.optimize.z_order([column], [("window_date", "in", days)], writer_properties=properties)
    return int(facts["numFilesRemoved"])


def unsorted_days(table: DeltaTable) -> list[str]:
    """Days of gold with a file that no sort has seen; every day when the log no longer says.

    Trap: a sort has seen what it read, not what others committed beside it.
    """
    actions = pa.table(table.get_add_actions(flatten=True))
    days = dict(zip(*(actions.column(name).to_pylist() for name in ("path", "partition.window_date")), strict=True))
    sort = next((commit for commit in table.history() if commit["operation"] == "OPTIMIZE"), None)
    seen = _seen_by(table.table_uri, sort) if sort else frozenset[str]()
    return sorted({str(day) for path, day in days.items() if path not in seen})


def _seen_by(uri: str, sort: Mapping[str, Any]) -> frozenset[str]:
    read, before, after = (
        files_at(uri, version) for version in (sort["readVersion"], sort["version"] - 1, sort["version"])
    )
    if read is None or before is None or after is None:
        return frozenset()
    return frozenset(read) | (frozenset(after) - frozenset(before))


def vacuum(uri: str, keep: list[int], dry_run: bool) -> Maintained:
    """Remove files that no version of the last seven days, and none of `keep`, names."""
    files = DeltaTable(uri).vacuum(KEEP_HOURS, dry_run=dry_run, keep_versions=keep or None)
    return Maintained(uri, vacuumed_files=len(files))


def main(argv: Sequence[str] | None = None) -> None:
    """`maintain.py [--env E] [--dry-run]`: sort, clean up, age out. Refuses beside a running batch."""
    arguments = script_arguments(main.__doc__, argv, "--dry-run")

    def job(_: SparkSource, settings: Settings) -> bool:
        with sole_job(settings):
            done = run(settings, registry_of(settings), time.time(), arguments.dry_run)
        for each in done:
            print(each)
        return True

    sys.exit(run_script("maintain", arguments, job))


if __name__ == "__main__":
    main()
