"""The demo's child processes: each a `tidemark` command with a log of its own, ended by its id."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tidemark.errors import Fault

STOP_TIMEOUT_S = 30.0


class Children:
    """Started in sessions of their own: Ctrl-C reaches only the demo, which then ends them in order."""

    def __init__(self, logs: Path, environment: dict[str, str]) -> None:
        self._logs = logs
        self._environment = environment
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> None:
        """Start `tidemark ARGUMENTS`; its output goes to `demo-NAME.log`."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", "cli.main", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raise Fault when a child that should still run has ended, with the last line it wrote."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise self._failure(name, process.returncode)

    def ended(self, name: str) -> bool:
        """Whether a child that is meant to end has done so, well. Raises Fault when it failed."""
        code = self._running[name].poll()
        if code is None:
            return False
        if code != 0:
            raise self._failure(name, code)
        del self._running[name]
        return True

    def stop(self) -> None:
        """End all, the last started first; what does not end in time is killed with all that it started."""
        for process in reversed(self._running.values()):
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in self._running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._running.clear()

    def _log(self, name: str) -> Path:
        return self._logs / f"demo-{name}.log"

    def _failure(self, name: str, code: int) -> Fault:
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = lines[-1][:300] if lines else "it said nothing"
        return Fault(f"{name} ended with code {code}: {said} (log: {self._log(name)})")


def free_port(wanted: int) -> int:
    """`wanted` when nothing listens there, else the next port that is free."""
    for port in range(wanted, min(wanted + 100, 65_536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Fault(f"no free port from {wanted} on: give another with --port")
