"""Restore of a lake: all of it, checked, and never over what is there."""

import re
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import redis
from deltalake import DeltaTable

from cli.main import main
from conf.settings import Settings, load_settings
from runtime.stream_lock import locked_contract
from spark_jobs import archive, backup, restore
from spark_jobs.archive import find_backup
from spark_jobs.delta_log import head_version
from spark_jobs.ledgers import latest_publications
from tests.spark_jobs.backups.written_lake import NOW, WrittenLake, assert_consistent, count_rows, run_and_die
from tidemark import keys
from tidemark.errors import Fault, LakeUnavailable, UserError
from tidemark.keys import LakeTables


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
    assert count_rows(f"{target.lake_uri}/bronze/events/access") == 7
    assert target.resolve_pseudonym_key() == settings.resolve_pseudonym_key()
    for key in (target.home / "pseudonym.key", Path(done.uri) / "pseudonym.key"):
        assert key.stat().st_mode & 0o777 == 0o600
    assert restored.definitions is None


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


def test_a_stream_that_holds_its_lock_stops_a_restore_also_before_its_first_heartbeat(
    settings: Settings, lake: WrittenLake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    with locked_contract(settings, "access"):
        assert main(["restore", done.uri, "--force"]) == 1
    told = capsys.readouterr().err.strip()
    assert re.fullmatch(r"tidemark: a stream runs on these checkpoints.*: stop it first", told)
    assert assert_consistent(settings.lake_uri).version == 3


def test_a_stream_that_starts_in_the_middle_of_a_restore_is_refused(
    settings: Settings, lake: WrittenLake, elsewhere: Callable[[str], Settings], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """A service that is started again and again would make tables of its own where the restore's are not there yet."""
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    starts, first = [], iter([True])

    def copy_beside_a_start(source: str, target: str) -> tuple[int, str]:
        if next(first, False):
            starts.append(main(["stream", "--once", "--source-contract", "access"]))
        return archive.copy_file(source, target)

    monkeypatch.setattr("spark_jobs.restore.copy_file", copy_beside_a_start)
    target = elsewhere("other")
    restore.run(target, done.uri, force=False)
    assert starts == [1]
    assert capsys.readouterr().err.strip().endswith("access: a restore is under way: start again when it has ended")
    assert assert_consistent(target.lake_uri).version == 3
    with locked_contract(target, "access"):
        pass


@pytest.mark.parametrize("sign", ["checkpoint", "heartbeat"])
def test_a_stream_that_begins_on_another_machine_ends_the_restore_before_it_shows_anything(
    settings: Settings, lake: WrittenLake, elsewhere: Callable[[str], Settings], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, redis_url: str, sign: str,
) -> None:  # fmt: skip
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    target = elsewhere("other")
    note = Path(target.checkpoints_uri) / "access" / "lake" / "tidemark.json"

    def copy_beside_a_stream(source: str, to: str) -> tuple[int, str]:
        if sign == "checkpoint":
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text("{}")
        else:
            with redis.Redis.from_url(redis_url) as client:
                client.set(keys.alive("access", "lake"), "1")
        return archive.copy_file(source, to)

    monkeypatch.setattr("spark_jobs.restore.copy_file", copy_beside_a_stream)
    with pytest.raises(Fault, match="a stream began on another machine meanwhile"):
        restore.run(target, done.uri, force=False)
    assert latest_publications(LakeTables(target.lake_uri)) == {}
    assert head_version(LakeTables(target.lake_uri).bronze_events("access")) is None


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
    assert count_rows(LakeTables(target.lake_uri).bronze_events("access")) == 8


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
