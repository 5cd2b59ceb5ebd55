"""The comparison with peers: what it counts as wrong, what it measures, and that it leaves nothing running."""

import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.peers import installed, measured
from bench.peers.catalogue import FEAST, PEERS, Peer
from bench.truth import DeviceWindows, device_truth, wrong_windows

SPENDS_2_S = "import time\nwhile time.process_time() < 2: pass\nprint('done')"
STARTS_ONE_AWAY = """
import subprocess, sys, time
held = bytearray(64 << 20)
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_a_result_is_wrong_when_it_is_missing_different_or_too_much() -> None:
    truth: DeviceWindows = {(0, "a"): (2, 3, 1, 2, 1.5), (0, "b"): (1, 1, 1, 1, 1.0), (600, "a"): (1, 4, 4, 4, 4.0)}
    held: DeviceWindows = {(0, "a"): (2, 3, 1, 2, 1.5), (0, "b"): (1, 1, 1, 2, 1.0), (600, "c"): (1, 4, 4, 4, 4.0)}
    assert wrong_windows(truth, truth) == 0
    assert wrong_windows(truth, held) == 3
    assert wrong_windows(truth, {}) == 3


def test_the_recompute_takes_each_event_once(tmp_path: Path) -> None:
    record = '{"event_id":"%s","timestamp":"2026-03-01T00:%s:00.000Z","device_id":"d","access_count":%d}\n'
    file = tmp_path / "events.ndjson"
    file.write_text("".join(record % each for each in (("1", "09", 3), ("2", "01", 8), ("1", "09", 3), ("3", "10", 5))))
    start = 1_772_323_200
    assert device_truth(file, 600) == {(start, "d"): (2, 11, 3, 8, 5.5), (start + 600, "d"): (1, 5, 5, 5, 5.0)}


def test_a_run_is_charged_the_cpu_it_used(tmp_path: Path) -> None:
    usage, output = measured.run([sys.executable, "-c", SPENDS_2_S], {}, tmp_path, 300)
    assert output == "done\n"
    assert 1.5 < usage.cpu[-1][1] < 2.5
    assert usage.cpu_between(usage.cpu[0][0], usage.cpu[-1][0]) == pytest.approx(usage.cpu[-1][1] - usage.cpu[0][1])


def test_a_run_that_takes_too_long_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(measured.Failed, match="not done after 4 s"):
        measured.run([sys.executable, "-c", STARTS_ONE_AWAY], {}, tmp_path, 4)
    child = int((tmp_path / "out.log").read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child that left the process group is still there"
        time.sleep(0.05)


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(measured.Failed, match="ended with 1: ZeroDivisionError"):
        measured.run([sys.executable, "-c", "1 / 0"], {}, tmp_path, 60)


def test_a_peer_that_does_not_install_is_named_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "peers" / "odd"
    source.mkdir(parents=True)
    (source / "requirements.txt").write_text("./not-there-1.0-py3-none-any.whl\n")
    (source / "program.py").touch()
    monkeypatch.setattr(installed, "HERE", tmp_path / "peers")
    monkeypatch.setattr(installed, "DATA", tmp_path / "data")
    with pytest.raises(installed.Unavailable, match="not-there"):
        installed.install(Peer("Odd", "odd"))


def test_every_peer_has_a_program_and_pinned_requirements() -> None:
    for peer in (*PEERS, FEAST):
        folder = installed.HERE / peer.folder
        requirements = folder / "requirements.txt"
        assert (folder / "program.py").exists() != (folder / "Program.java").exists()
        assert requirements.exists() or (folder / "jars.lock").exists()
        if requirements.exists():
            assert all("==" in line for line in requirements.read_text().splitlines())
