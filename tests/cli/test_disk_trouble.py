"""A disk that is full or read-only: commands end with one line, also when not even the trace can be kept."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conf.settings import Settings
from intake.source import open_source
from tests.faults.disk_faults import ORDINARY_USER, read_only
from tests.packs import SHIPPED

TIDEMARK = str(Path(sys.executable).with_name("tidemark"))
EVENT = b'{"event_id":"a","timestamp":"2026-01-01T00:00:00Z","device_id":"d","user_id":"u","access_count":1}'


def with_full_disk(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """No file of the command can grow; it prints to a pipe."""
    line = f"ulimit -f 0; exec {shlex.join([TIDEMARK, *arguments])}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=120)


def as_ordinary_user(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [*ORDINARY_USER, TIDEMARK, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def assert_one_line(done: "subprocess.CompletedProcess[str]", words: str) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert words in done.stderr.splitlines()[-1]


def test_a_batch_on_a_full_disk_says_so(settings: Settings) -> None:
    open_source(settings, SHIPPED.contracts["access"].newest).append([EVENT])
    assert_one_line(with_full_disk("batch"), f"lake: cannot write {settings.lake_uri}: File too large")


def test_a_stream_that_cannot_write_its_checkpoints_says_so(settings: Settings) -> None:
    open_source(settings, SHIPPED.contracts["access"].newest).append([EVENT])
    with read_only(settings.home):
        done = as_ordinary_user("stream", "--once")
    assert_one_line(done, f"cannot write {settings.checkpoints_uri}: Permission denied")


def test_an_unexpected_error_is_told_also_where_its_trace_cannot_be_kept(settings: Settings) -> None:
    (settings.home / "logs").write_text("in the way of the folder")
    program = (
        "import sys, cli.main, cli.status\ndef broken(): raise RuntimeError('went wrong')\n"
        "cli.status.load_settings = broken; sys.exit(cli.main.main(['status']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert_one_line(done, "unexpected RuntimeError: went wrong")


@pytest.mark.parametrize("command", [["status"], ["status", "--json"]])
def test_reading_needs_no_space(settings: Settings, command: list[str]) -> None:
    open_source(settings, SHIPPED.contracts["access"].newest).append([EVENT])
    assert with_full_disk(*command).returncode == 0
    with read_only(settings.home):
        assert as_ordinary_user(*command).returncode == 0
