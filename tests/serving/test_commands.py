"""`tidemark query` and `tidemark serve`, as a user runs them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from cli.main import main
from tests.serving.stage import Stage, instant
from tests.serving.test_answers import straddling

RANGE = ["--window", "10m", "--from", instant("00:00"), "--to", instant("01:00")]


def test_query_prints_what_the_api_answers(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    straddling(stage)
    assert main(["query", "device_access", *RANGE, "--dim", "device_id=dev-1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [p["layer"] for p in document["points"]] == ["batch", "batch", "speed"]


def test_a_strict_query_with_gaps_exits_1_and_still_shows_the_answer(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    straddling(stage)
    stage.stream({}, families={}, batch=2)
    assert main(["query", "device_access", *RANGE, "--strict"]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["missing"][0]["reason"] == "not_covered"
    assert len(printed.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["query", "nothing", *RANGE], "metric"),
        (["query", "device_access", *RANGE, "--dim", "device_id"], "dim"),
        (["query", "device_access", "--window", "10m", "--from", "now", "--to", instant("01:00")], "from"),
        (["query", "device_access", *RANGE, "--top", "0"], "top"),
    ],
)
def test_wrong_use_of_query_is_one_line_and_exit_2(
    stage: Stage, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert named in printed.err
    assert len(printed.err.strip().splitlines()) == 1


def test_query_and_serve_never_load_spark(stage: Stage) -> None:
    code = "import sys, serving.app, serving.status, cli.query, cli.status; sys.exit('pyspark' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_serve_answers_until_it_is_told_to_stop(stage: Stage) -> None:
    straddling(stage)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "import sys; from cli.main import run; sys.argv = ['tidemark', 'serve', '--port', sys.argv[1]]; run()"
    process = subprocess.Popen([sys.executable, "-c", code, str(port)], env=dict(os.environ), stderr=subprocess.PIPE)
    try:
        answer = _wait_for(f"http://127.0.0.1:{port}/v1/metrics", process)
        taken = subprocess.run([sys.executable, "-c", code, str(port)], capture_output=True, text=True, check=False)
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert answer.status_code == 200
    assert (taken.returncode, "cannot listen" in taken.stderr) == (1, True)
    assert process.returncode == 0, said


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> httpx.Response:
    deadline = time.monotonic() + 30
    while True:
        try:
            return httpx.get(url)
        except httpx.TransportError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            time.sleep(0.1)
