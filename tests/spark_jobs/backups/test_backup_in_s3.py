"""The same backup between object stores, against a stand-in of S3: lake in one bucket, backups in another."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import redis
from botocore.exceptions import EndpointConnectionError

from conf.settings import load_settings
from spark_jobs import backup, restore
from spark_jobs.archive import find_backup
from tests.spark_jobs.backups.written_lake import NOW, WrittenLake, assert_consistent
from tidemark.errors import Fault, UserError


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of a server in a process of its own: delta-rs holds Python's lock while it asks for a listing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "not for anybody's eyes",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONDITIONAL_PUT": "etag",
    }.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _create_bucket("tidemark-test", server)
        yield "s3://tidemark-test"
    finally:
        server.terminate()
        server.wait(30)


def _create_bucket(name: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            boto3.client("s3").create_bucket(Bucket=name)
            return
        except EndpointConnectionError:
            assert server.poll() is None, "the stand-in of S3 has ended"
            assert time.monotonic() < deadline, "the stand-in of S3 does not answer"
            time.sleep(0.2)


def test_a_lake_in_s3_is_backed_up_there_and_restored(
    bucket: str, home: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_REDIS_URL", redis_url)
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY", "k" * 32)
    monkeypatch.setenv("TIDEMARK_LAKE", f"{bucket}/lake")
    settings = load_settings()
    lake = WrittenLake(settings.lake_uri)
    for _ in range(2):
        lake.stream()
        lake.batch()
    done = backup.run(settings, f"{bucket}/kept", NOW)
    assert find_backup(f"{bucket}/kept") == (done.uri, done.manifest)
    with pytest.raises(UserError, match="not empty: lake s3://"):
        restore.run(settings, done.uri, force=False)
    lake.stream()
    lake.batch()
    restore.run(settings, done.uri, force=True)
    assert assert_consistent(settings.lake_uri).version == 2
    monkeypatch.setenv("TIDEMARK_LAKE", f"{bucket}/other")
    restore.run(load_settings(), done.uri, force=False)
    assert assert_consistent(f"{bucket}/other").version == 2
    monkeypatch.setenv("TIDEMARK_LAKE", str(home / "local"))
    restore.run(load_settings(), f"{bucket}/kept", force=False)
    assert assert_consistent(str(home / "local")).version == 2
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == []


def test_a_bucket_that_is_not_there_is_one_line(bucket: str, home: Path) -> None:
    with pytest.raises((Fault, UserError)) as failure:
        find_backup("s3://nothing-of-that-name/kept")
    assert "\n" not in str(failure.value)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(failure.value)
