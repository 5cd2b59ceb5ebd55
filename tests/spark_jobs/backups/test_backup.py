"""Backup of a lake that goes on being written: consistent, or none."""

import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from deltalake import DeltaTable

from conf.settings import Settings
from spark_jobs import backup, restore
from spark_jobs.archive import find_backup
from spark_jobs.delta_log import head_version
from tests.spark_jobs.backups.written_lake import NOW, WrittenLake, append, assert_consistent, run_and_die
from tidemark.errors import Fault, UserError
from tidemark.keys import LakeTables


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
    append(written.tables.gold("device_access"))
    done = backup.run(settings, str(tmp_path / "kept"), NOW)
    assert list(done.manifest.tables) == ["bronze/events/access", "bronze/quarantine/access"]


def test_a_backup_that_did_not_end_is_none(settings: Settings, lake: WrittenLake, tmp_path: Path) -> None:
    older = backup.run(settings, str(tmp_path / "kept"), NOW)
    killed = backup.run(settings, str(tmp_path / "kept"), NOW + 1)
    (Path(killed.uri) / "manifest.json").unlink()
    assert find_backup(str(tmp_path / "kept"))[0] == older.uri
    with pytest.raises(UserError, match="backed up to its end"):
        find_backup(killed.uri)


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


def test_an_empty_lake_is_a_mistake_and_no_backup(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no table in .*TIDEMARK_LAKE"):
        backup.run(settings, str(tmp_path / "kept"), NOW)
    assert not (tmp_path / "kept").exists()


def test_a_destination_that_cannot_be_written_is_told_at_once(settings: Settings, lake: WrittenLake) -> None:
    with pytest.raises(UserError, match="cannot write to /proc/kept"):
        backup.run(settings, "/proc/kept", NOW)


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
