"""One run of a program, with all its processes: CPU, memory, a limit of time, and nothing left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

_EVERY_S = 0.25
_TREE_EVERY_S = 1.0
_GENTLE_S = 10.0


class Failed(Exception):
    """One line: why a run gave no figure."""


@dataclass
class Usage:
    """What a tree of processes used; `cpu`: (wall clock, CPU-seconds so far)."""

    started: float = field(default_factory=time.time)
    cpu: list[tuple[float, float]] = field(default_factory=list)
    peak_rss_mb: float = 0.0

    def cpu_between(self, begin: float, end: float) -> float:
        """CPU-seconds between two instants."""
        at, used = zip(*self.cpu, strict=True)
        return float(np.interp(end, at, used) - np.interp(begin, at, used))


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path, seconds: float) -> tuple[Usage, str]:
    """(what it used, its standard output). Failed when it fails or takes longer than `seconds`.

    Its output is in `folder`. However it ends, no process that it started is left.
    """
    usage = Usage()
    with running(command, environment, folder) as (process, tree):
        while process.poll() is None:
            if time.time() - usage.started > seconds:
                raise Failed(f"not done after {seconds:.0f} s")
            used, rss = tree.sample()
            usage.cpu.append((time.time(), used))
            usage.peak_rss_mb = max(usage.peak_rss_mb, rss / 2**20)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_EVERY_S)
    if process.returncode:
        raise Failed(f"ended with {process.returncode}: {last_line(folder / 'err.log')}")
    return usage, (folder / "out.log").read_text(encoding="utf-8", errors="replace")


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Iterator[tuple[subprocess.Popen[bytes], "Tree"]]:
    """A program in the background; at the end of the block it and all it started are killed."""
    with (folder / "out.log").open("wb") as out, (folder / "err.log").open("wb") as err:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    tree = Tree(process.pid)
    try:
        yield process, tree
    finally:
        tree.look()
        end_group(process, gently=False)
        tree.kill()


class Tree:
    """A process and all it started; what ended keeps its last reading."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._known: dict[psutil.Process, float] = {}
        self._looked = 0.0

    def look(self) -> None:
        """Find new processes."""
        with suppress(psutil.Error):
            for each in (self._root, *self._root.children(recursive=True)):
                self._known.setdefault(each, 0.0)
        self._looked = time.monotonic()

    def sample(self) -> tuple[float, float]:
        """(CPU-seconds so far, bytes resident)."""
        if time.monotonic() - self._looked >= _TREE_EVERY_S:
            self.look()
        resident = 0.0
        for each in self._known:
            with suppress(psutil.Error):
                times = each.cpu_times()
                self._known[each] = times.user + times.system
                resident += each.memory_info().rss
        return sum(self._known.values()), resident

    def kill(self) -> None:
        for each in self._known:
            with suppress(psutil.Error):
                each.kill()


def end_group(process: subprocess.Popen[bytes], *, gently: bool = True) -> None:
    """End a process that leads its own group, and the group: `gently` lets it end by itself for some seconds first."""
    if gently:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GENTLE_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def last_line(file: Path) -> str:
    """What a program said last, of its log."""
    return last_lines(file, 1).strip()[:200] or "nothing was said"


def last_lines(file: Path, count: int) -> str:
    """The end of a log; empty without one."""
    if not file.exists():
        return ""
    lines = [line for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return "\n".join(lines[-count:])
