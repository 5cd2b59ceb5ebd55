"""The demo ends with an answer of both layers, and leaves nothing running."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.demo_processes import Children, free_port
from cli.demo_screen import Reading
from conf.settings import load_settings
from runtime.redis_server import stop_embedded
from tidemark.errors import Fault

POINT = {"start": "2026-01-05T07:00:00Z", "layer": "batch", "state": "sealed", "values": {"total_users": 3}}


def wait_for_end(children: Children, name: str) -> None:
    while not children.ended(name):
        time.sleep(0.05)


def test_a_busy_port_gives_way_to_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port(port) < port + 100


@pytest.mark.usefixtures("settings")  # of itself the child would start a server on the home, and leave it
def test_a_child_that_fails_is_named_with_its_last_line(home: Path) -> None:
    children = Children(home / "logs", dict(os.environ))
    children.start("query", "query", "nothing", "--window", "10m", "--from", "x", "--to", "y")
    with pytest.raises(Fault, match=r"^query ended with code 2: tidemark: "):
        wait_for_end(children, "query")


def test_all_children_end_with_the_demo(home: Path) -> None:
    children = Children(home / "logs", dict(os.environ))
    children.start("simulator", "simulate", "access", "--rate", "1", "--seconds", "600", "--seed", "1")
    children.check()
    children.stop()
    children.check()


def test_a_reading_says_what_is_not_known_yet_and_where_windows_come_from() -> None:
    assert "events in - (- quarantined)" in Reading().line()
    line = Reading(received=1200, quarantined=3, lag_records=0, freshness_s=0.5, points=[POINT]).line()
    assert "events in 1,200 (3 quarantined)" in line
    assert "07:00 total_users 3 [batch]" in line


@pytest.mark.spark
@pytest.mark.slow
def test_the_demo_stops_by_itself_after_an_answer_of_both_layers(home: Path) -> None:
    short_lived = {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}  # two JVMs of a minute each, beside other tests
    environment = {**os.environ, "TIDEMARK_ENV": "local", "TIDEMARK_HOME": str(home), **short_lived}
    command = [sys.executable, "-m", "cli.main", "demo", "--seconds", "1", "--port", str(free_port(18_000))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert answer["complete"]
    assert {point["layer"] for point in answer["points"]} == {"batch", "speed"}
    assert re.search(r"curl -s '?http://127\.0\.0\.1:\d+/v1/metrics/device_access\?", done.stdout)
    assert not stop_embedded(load_settings())
    # A JVM ends by itself when its driver has gone: a moment later.
    deadline = time.monotonic() + 30
    while left_running(home) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left_running(home) == []


def left_running(home: Path) -> list[str]:
    """Command lines of processes that work on the home."""
    found = []
    for entry in Path("/proc").iterdir() if Path("/proc/self/environ").exists() else ():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if command and f"TIDEMARK_HOME={home}".encode() in environment:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found
