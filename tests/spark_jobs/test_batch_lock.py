"""One job that changes what batch owns at a time: each entry point takes the lock, and is refused in one line."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from conf.settings import Settings
from spark_jobs import publish
from spark_jobs.batch_lock import local_lock, remote_lease, sole_job
from tests.faults.disk_faults import ORDINARY_USER, read_only
from tidemark.errors import Fault, LakeUnavailable
from tidemark.keys import LakeTables

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def held(settings: Settings) -> Iterator[Settings]:
    with local_lock(Path(settings.lake_uri)):
        yield settings


@pytest.mark.parametrize("job", ["nightly", "maintain", "publish", "build_silver"])
def test_a_second_job_on_the_lake_is_refused_in_one_line(held: Settings, job: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"spark_jobs.{job}"], capture_output=True, text=True, cwd=PROJECT, timeout=120
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "another batch (process " in done.stderr


def test_the_lock_goes_with_the_process_that_held_it(settings: Settings) -> None:
    code = "from pathlib import Path; import sys, os; from spark_jobs.batch_lock import local_lock\n"
    code += "lock = local_lock(Path(sys.argv[1])); lock.__enter__(); os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code, settings.lake_uri], cwd=PROJECT, timeout=60)
    assert done.returncode == -9
    with local_lock(Path(settings.lake_uri)):
        pass


def test_a_lake_in_an_object_store_is_leased_in_redis(settings: Settings) -> None:
    remote = settings.model_copy(update={"lake": "s3://bucket/lake"})
    with redis.Redis.from_url(str(settings.redis_url)) as client, remote_lease(client, "s3://bucket/lake"):
        with pytest.raises(Fault, match="another batch is running"), sole_job(remote):
            pass
        with sole_job(settings):
            pass
    with sole_job(remote):
        pass


def test_a_batch_that_lost_its_lease_publishes_nothing(settings: Settings) -> None:
    tables = LakeTables(settings.lake_uri)
    with redis.Redis.from_url(str(settings.redis_url)) as client:
        with remote_lease(client, "s3://bucket/lake") as check:
            publish.run(client, tables, [], check)
            client.flushall()
            with remote_lease(client, "s3://bucket/lake") as others:
                others()
                with pytest.raises(Fault, match="lost the lake"):
                    publish.run(client, tables, [], check)
        assert client.keys() == []


def test_a_lake_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    code = "import sys; from pathlib import Path; from spark_jobs.batch_lock import local_lock\n"
    code += "from tidemark.errors import LakeUnavailable\n"
    code += "try:\n  local_lock(Path(sys.argv[1])).__enter__()\nexcept LakeUnavailable as error: print(error)"
    with read_only(lake):
        done = subprocess.run(
            [*ORDINARY_USER, sys.executable, "-c", code, str(lake)],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.stdout.strip() == f"lake: cannot write {lake}: Permission denied", done.stderr
    assert issubclass(LakeUnavailable, Fault)
