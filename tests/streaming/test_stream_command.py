"""`tidemark stream` as a process: killed in the middle, ended by a signal, locked out."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conf.settings import PACKAGED, Settings
from intake.source import open_source
from tests.streaming.stage import access, at
from tidemark import keys
from tidemark.metrics.registry import load_registry
from tidemark.partials import PartialCodec

pytestmark = [pytest.mark.spark, pytest.mark.slow]
_PROJECT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 240


def stream(*options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "cli.main", "stream", "--source-contract", "access", *options]
    return subprocess.Popen(command, cwd=_PROJECT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_kill_in_the_middle_then_once_counts_every_event_exactly_once(settings: Settings) -> None:
    import redis

    registry = load_registry([PACKAGED])
    metric = registry.metrics["device_access"]
    source = open_source(settings, registry.contracts["access"].newest)
    client = redis.Redis.from_url(str(settings.redis_url))
    source.append([access("first", "00:00:00")])
    running = stream()
    try:
        _wait_for(lambda: client.exists(keys.progress("access", "exact")))
        for i in range(20):
            source.append([access(f"e{i}-{j}", f"00:{j:02d}:30", f"dev-{j % 4}") for j in range(10)])
            time.sleep(0.05)
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.communicate()
    source.append([access("last", "00:09:59")])
    done = stream("--once")
    out, err = done.communicate(timeout=_TIMEOUT_S)
    assert done.returncode == 0, err
    codec = PartialCodec(metric)
    held = client.hvals(keys.speed_window(metric.family, 600, at("00:00:00")))
    assert sum(codec.decode(packed)[-1] for packed in held) == 202
    assert sum(map(int, client.hvals(keys.accepted("access")))) == 202
    assert "202" in out
    client.close()


def test_sigterm_ends_cleanly_and_a_second_stream_is_refused_meanwhile(settings: Settings) -> None:
    import redis

    source = open_source(settings, load_registry([PACKAGED]).contracts["access"].newest)
    source.append([access("first", "00:00:00")])
    client = redis.Redis.from_url(str(settings.redis_url))
    running = stream()
    try:
        _wait_for(lambda: client.exists(keys.alive("access", "exact")))
        second = stream("--once")
        _, err = second.communicate(timeout=_TIMEOUT_S)
        assert second.returncode == 1
        assert "another stream runs" in err
        _wait_for(lambda: client.exists(keys.progress("access", "exact")))
    finally:
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=_TIMEOUT_S)
    assert running.returncode == 0, err
    assert not client.exists(keys.alive("access", "exact"))
    client.close()


def test_nothing_of_spark_speaks_after_the_last_line(settings: Settings) -> None:
    """The state stores' maintenance goes on in a thread of its own, which has nothing to say once the session ends."""
    open_source(settings, load_registry([PACKAGED]).contracts["access"].newest).append([access("first", "00:00:00")])
    script = """
import sys, time
from conf.settings import load_settings
from streaming import speed_job
speed_job._STREAMING["spark.sql.streaming.stateStore.maintenanceInterval"] = "1ms"
speed_job.run(load_settings(), ["access"], once=True)
print("done", file=sys.stderr)
time.sleep(2)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=_PROJECT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "SparkEnv not active" not in done.stderr
    assert done.stderr.splitlines()[-1] == "done"


def test_an_unknown_contract_is_wrong_use(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "stream", "--once", "--source-contract", "nope"],
        cwd=_PROJECT,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 2
    assert "nope" in done.stderr


def _wait_for(condition: object, timeout_s: float = _TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.1)
