"""Backup and restore of a lake that goes on being written: consistent, checked, and never over what is there."""

import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from conf.settings import Settings, load_settings
from spark_jobs import backup, restore
from spark_jobs.archive import find_backup
from spark_jobs.delta_log import head_version, open_table
from spark_jobs.ledgers import commit_publications, latest_publications
from tidemark import keys
from tidemark.errors import Fault, LakeUnavailable, UserError
from tidemark.keys import LakeTables
from tidemark.publication import Publication

NOW = 1_795_557_600.0


class WrittenLake:
    """A lake as stream and batch commit to it, by delta-rs: bronze, silver, gold, publication, late ledger."""

    def __init__(self, uri: str) -> None:
        self.tables = LakeTables(uri)
        self.version = 0

    def stream(self) -> None:
        _append(self.tables.bronze_events("access"))
        _append(self.tables.bronze_quarantine("access"))

    def batch(self) -> None:
        """Silver takes what bronze has, gold counts silver, the publication names both."""
        tables, self.version = self.tables, self.version + 1
        bronze = head_version(tables.bronze_events("access"))
        assert bronze is not None
        rows = _rows(tables.bronze_events("access"), bronze) - _rows(tables.silver("access"))
        _append(tables.silver("access"), rows, ("silver:access", bronze))
        silver = head_version(tables.silver("access"))
        counted = pa.table({"silver_rows": [_rows(tables.silver("access"), silver)]})
        write_deltalake(tables.gold("device_access"), counted, mode="overwrite")
        gold = head_version(tables.gold("device_access"))
        commit_publications(tables, [_publication(self.version, gold, silver)])
        assert silver is not None
        _append(tables.late, 1, ("late:access", silver))


def _append(uri: str, rows: int = 1, transaction: tuple[str, int] | None = None) -> None:
    properties = CommitProperties(app_transactions=[Transaction(*transaction)]) if transaction else None
    write_deltalake(uri, pa.table({"n": list(range(rows))}), mode="append", commit_properties=properties)


def _rows(uri: str, version: int | None = None) -> int:
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
    assert counted.column("silver_rows").to_pylist() == [_rows(tables.silver("access"), publication.silver_version)]
    silver, bronze = DeltaTable(tables.silver("access")), DeltaTable(tables.bronze_events("access"))
    consumed = silver.transaction_version("silver:access")
    assert consumed is not None
    assert consumed <= bronze.version()
    assert _rows(tables.silver("access")) == _rows(tables.bronze_events("access"), consumed)
    late = open_table(tables.late)
    assert late is None or (late.transaction_version("late:access") or 0) <= silver.version()
    return publication


@pytest.fixture
def lake(settings: Settings) -> WrittenLake:
    written = WrittenLake(settings.lake_uri)
    for _ in range(3):
        written.stream()
        written.stream()
        written.batch()
    written.stream()
    return written


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lake: WrittenLake) -> Callable[[str], Settings]:
    """Settings of another, empty home."""

    def settings_of(name: str) -> Settings:
        monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path / name))
        return load_settings()

    return settings_of


def test_a_restored_lake_is_the_one_that_was_backed_up(
    settings: Settings, lake: WrittenLake, elsewhere: Callable[[str], Settings], tmp_path: Path
) -> None:
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    target = elsewhere("other")
    restored = restore.run(target, str(tmp_path / "kept"), force=False)
    assert restored.manifest == done.manifest
    assert assert_consistent(target.lake_uri).version == 3
    heads = {table: head_version(f"{target.lake_uri}/{table}") for table in done.manifest.tables}
    assert heads == {table: head_version(f"{settings.lake_uri}/{table}") for table in done.manifest.tables}
    assert _rows(f"{target.lake_uri}/bronze/events/access") == 7
    assert target.resolve_pseudonym_key() == settings.resolve_pseudonym_key()
    for key in (target.home / "pseudonym.key", Path(done.uri) / "pseudonym.key"):
        assert key.stat().st_mode & 0o777 == 0o600
    assert restored.definitions is None


def test_a_backup_of_a_lake_that_is_being_written_is_consistent(
    settings: Settings, lake: WrittenLake, elsewhere: Callable[[str], Settings], tmp_path: Path
) -> None:
    over, failures = threading.Event(), []

    def forever(step: Callable[[], None]) -> None:
        try:
            while not over.is_set():
                step()
        except Exception as error:  # noqa: BLE001  told by the test
            failures.append(error)

    writers = [threading.Thread(target=forever, args=(step,)) for step in (lake.stream, lake.batch)]
    for writer in writers:
        writer.start()
    kept = [backup.run(settings, str(tmp_path / "kept"), NOW + number).uri for number in range(6)]
    over.set()
    for writer in writers:
        writer.join()
    assert failures == []
    versions = []
    for number, uri in enumerate(kept):
        target = elsewhere(f"copy-{number}")
        with redis.Redis.from_url(str(settings.redis_url)) as client:
            client.flushall()
        restore.run(target, uri, force=False)
        versions.append(assert_consistent(target.lake_uri).version)
    assert versions == sorted(versions)
    assert versions[-1] > versions[0], "the batch published nothing meanwhile: the test proved nothing"


def test_the_pinned_version_is_kept_when_maintenance_has_rewritten_gold(
    settings: Settings, lake: WrittenLake, elsewhere: Callable[[str], Settings], tmp_path: Path
) -> None:
    DeltaTable(lake.tables.gold("device_access")).optimize.z_order(["silver_rows"])
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    target = elsewhere("other")
    restore.run(target, done.uri, force=False)
    pinned = assert_consistent(target.lake_uri).gold_version
    assert head_version(LakeTables(target.lake_uri).gold("device_access")) == pinned


def test_gold_that_nothing_published_is_left_to_the_next_batch(settings: Settings, tmp_path: Path) -> None:
    written = WrittenLake(settings.lake_uri)
    written.stream()
    _append(written.tables.gold("device_access"))
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    assert list(done.manifest.tables) == ["bronze/events/access", "bronze/quarantine/access"]


def test_a_backup_that_did_not_end_is_none(settings: Settings, lake: WrittenLake, tmp_path: Path) -> None:
    older = backup.run(settings, str(tmp_path / "kept"), NOW)
    killed = backup.run(settings, str(tmp_path / "kept"), NOW + 1)
    (Path(killed.uri) / "manifest.json").unlink()
    assert find_backup(str(tmp_path / "kept"))[0] == older.uri
    with pytest.raises(UserError, match="backed up to its end"):
        find_backup(killed.uri)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_file_is_named_and_nothing_is_deleted_for_it(
    settings: Settings, lake: WrittenLake, tmp_path: Path, damage: str
) -> None:
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    victim = next(file for file in done.manifest.files if file.path.endswith(".parquet"))
    path = Path(done.uri) / victim.path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink() if damage == "gone" else path.write_bytes(content if damage == "flipped" else content[:-1])
    with pytest.raises(Fault, match=victim.path):
        restore.check(done.uri)
    with pytest.raises(Fault, match=victim.path):
        restore.run(settings, done.uri, force=True)
    assert assert_consistent(settings.lake_uri).version == 3


def test_what_is_there_is_replaced_only_when_told(
    settings: Settings, lake: WrittenLake, tmp_path: Path, redis_url: str
) -> None:
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    lake.stream()
    lake.batch()
    stale = Path(settings.checkpoints_uri) / "access" / "lake" / "commits" / "7"
    stale.parent.mkdir(parents=True)
    stale.write_text("v1")
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.publication("device_access"), "{}")
        client.set("of another program", "stays")
        with pytest.raises(UserError, match=r"not empty: lake .*; checkpoints .*; views in Redis.*--force"):
            restore.run(settings, done.uri, force=False)
        assert latest_publications(lake.tables)["device_access"].version == 4
        restore.run(settings, done.uri, force=True)
        assert client.keys() == [b"of another program"]
    assert assert_consistent(settings.lake_uri).version == 3
    assert not stale.exists()


def test_a_stream_that_runs_stops_a_restore(
    settings: Settings, lake: WrittenLake, tmp_path: Path, redis_url: str
) -> None:
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    with redis.Redis.from_url(redis_url) as client:
        client.set(keys.alive("access", "lake"), "1")
    with pytest.raises(Fault, match="a stream runs"):
        restore.run(settings, done.uri, force=True)
    assert assert_consistent(settings.lake_uri).version == 3


def test_the_metadata_comes_back_also_while_it_is_written(
    settings: Settings, lake: WrittenLake, elsewhere: Callable[[str], Settings], tmp_path: Path
) -> None:
    with closing(sqlite3.connect(settings.home / "metadata.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE users (name TEXT)")
        database.execute("INSERT INTO users VALUES ('kept')")
        database.commit()
        database.execute("INSERT INTO users VALUES ('not committed')")
        done = backup.run(settings, str(tmp_path / "kept"), NOW)
    target = elsewhere("other")
    restore.run(target, done.uri, force=False)
    with closing(sqlite3.connect(target.home / "metadata.db")) as database:
        assert database.execute("SELECT name FROM users").fetchall() == [("kept",)]


def test_another_pseudonym_key_is_refused(
    settings: Settings, lake: WrittenLake, elsewhere: Callable[[str], Settings], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY", "k" * 32)
    with pytest.raises(UserError, match="TIDEMARK_PSEUDONYM_KEY: is not the key"):
        restore.run(elsewhere("other"), done.uri, force=False)
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY", settings.resolve_pseudonym_key())
    restore.run(elsewhere("other"), done.uri, force=False)


def test_a_log_with_checkpoints_and_without_its_beginning_comes_back(
    settings: Settings, lake: WrittenLake, elsewhere: Callable[[str], Settings], tmp_path: Path
) -> None:
    uri = lake.tables.bronze_events("access")
    DeltaTable(uri).create_checkpoint()
    at = head_version(uri)
    for log in (Path(uri) / "_delta_log").glob("*.json"):
        log.unlink() if int(log.stem) < (at or 0) else None
    lake.stream()
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    target = elsewhere("other")
    restore.run(target, done.uri, force=False)
    assert _rows(LakeTables(target.lake_uri).bronze_events("access")) == 8


def test_a_copy_that_cannot_be_opened_is_no_backup(
    settings: Settings, lake: WrittenLake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delta says whether what was copied of a log suffices: here as if a kind of log file were not known."""
    DeltaTable(lake.tables.bronze_events("access")).create_checkpoint()
    (Path(lake.tables.bronze_events("access")) / "_delta_log" / f"{0:020d}.json").unlink()
    monkeypatch.setattr("spark_jobs.lake_snapshot._LOG_FILE", re.compile(r"(\d{20})\.(json)"))
    with pytest.raises(Fault, match="bronze/events/access"):
        backup.run(settings, str(tmp_path / "kept"), NOW)
    with pytest.raises(UserError, match="backed up to its end"):
        find_backup(str(tmp_path / "kept"))


def test_a_key_that_is_there_must_be_the_same(
    settings: Settings, lake: WrittenLake, elsewhere: Callable[[str], Settings], tmp_path: Path
) -> None:
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    target = elsewhere("other")
    target.resolve_pseudonym_key()
    with pytest.raises(UserError, match="another pseudonym key"):
        restore.run(target, done.uri, force=False)
    (target.home / "pseudonym.key").write_text(settings.resolve_pseudonym_key())
    restore.run(target, done.uri, force=False)


def test_an_empty_lake_is_a_mistake_and_no_backup(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no table in .*TIDEMARK_LAKE"):
        backup.run(settings, str(tmp_path / "kept"), NOW)
    assert not (tmp_path / "kept").exists()


def test_a_destination_that_cannot_be_written_is_told_at_once(settings: Settings, lake: WrittenLake) -> None:
    with pytest.raises(UserError, match="cannot write to /proc/kept"):
        backup.run(settings, "/proc/kept", NOW)


def test_definitions_that_differ_come_back_beside_those_in_force(
    settings: Settings, lake: WrittenLake, elsewhere: Callable[[str], Settings], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    own = tmp_path / "own"
    (own / "metrics").mkdir(parents=True)
    (own / "metrics" / "mine.yaml").write_text("name: mine\n")
    monkeypatch.setenv("TIDEMARK_DEFINITIONS", str(own))
    done = backup.run(load_settings(), str(tmp_path / "kept"), NOW)
    monkeypatch.delenv("TIDEMARK_DEFINITIONS")
    restored = restore.run(elsewhere("other"), done.uri, force=False)
    assert restored.definitions is not None
    assert (Path(restored.definitions) / "metrics" / "mine.yaml").read_text() == "name: mine\n"


def test_a_manifest_cannot_write_outside(settings: Settings, lake: WrittenLake, tmp_path: Path) -> None:
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    manifest = Path(done.uri) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"path": "lake/', '"path": "lake/../../', 1))
    with pytest.raises(UserError, match="outside the backup"):
        find_backup(done.uri)


def run_and_die(place: str, *arguments: str) -> int:
    """`tidemark ARGUMENTS` in a process of its own that ends by SIGKILL at a place (see tests/faults/driver.py)."""
    command = [sys.executable, "-m", "tests.faults.driver", place, "--", *arguments]
    return subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, timeout=120, check=False
    ).returncode


def test_two_backups_of_one_second_get_folders_of_their_own_in_their_order(
    settings: Settings, lake: WrittenLake, tmp_path: Path
) -> None:
    """A second one at once, as after a kill, used to end with "is there already" (exit 2)."""
    first, second = (backup.run(settings, str(tmp_path / "kept"), NOW + seconds) for seconds in (0.2, 0.7))
    assert first.uri != second.uri
    assert find_backup(str(tmp_path / "kept"))[0] == second.uri


def test_a_backup_that_is_killed_anywhere_leaves_none(settings: Settings, lake: WrittenLake, tmp_path: Path) -> None:
    for place in ("spark_jobs.backup:copy_file@9:after", "spark_jobs.backup:write_manifest@1:before"):
        assert run_and_die(place, "backup", str(tmp_path / "kept")) == -signal.SIGKILL
        with pytest.raises(UserError, match="backed up to its end"):
            find_backup(str(tmp_path / "kept"))
    done = backup.run(settings, str(tmp_path / "kept"), NOW + 86_400 * 365)
    assert find_backup(str(tmp_path / "kept"))[0] == done.uri


def test_a_restore_that_is_killed_anywhere_shows_no_part_of_a_table_and_can_be_repeated(
    settings: Settings, lake: WrittenLake, elsewhere: Callable[[str], Settings], tmp_path: Path
) -> None:
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    files = done.manifest.below("lake")
    seen = set()
    for nth in (len(files) // 2, 3 * len(files) // 4, len(files) - 1):
        target = elsewhere(f"killed-{nth}")
        assert run_and_die(f"spark_jobs.restore:_fetch@{nth}:before", "restore", done.uri) == -signal.SIGKILL
        for table, version in done.manifest.tables.items():
            seen.add(found := _version_or_trouble(f"{target.lake_uri}/{table}"))
            assert found in (version, None, "cannot be opened"), table
        with pytest.raises(UserError, match="not empty"):
            restore.run(target, done.uri, force=False)
        restore.run(target, done.uri, force=True)
        assert assert_consistent(target.lake_uri).version == 3
    assert len(seen) > 2, "every kill came before or after the logs: the test proved nothing"


def _version_or_trouble(uri: str) -> int | str | None:
    try:
        return head_version(uri)
    except LakeUnavailable:
        return "cannot be opened"
