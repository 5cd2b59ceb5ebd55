"""Disks that fail under a driver: full for a while, or not writable.

Full: the soft RLIMIT_FSIZE of the driver's JVM is set to 0 from outside, so that no file of it can grow, as on a file
system without a free block (EFBIG instead of ENOSPC). Not writable: the permissions are taken away; a driver of root
runs without the capability to ignore them. `SmallDisk` is the real thing, where mounting is permitted.
"""

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.faults.rig import Driver, wait_for

ORDINARY_USER = [sys.executable, "-m", "tests.faults.ordinary_user"]
_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


@contextmanager
def full_disk(driver: Driver) -> Iterator[None]:
    """No file that the driver's JVM writes can grow."""
    java = java_of(driver)
    _, hard = resource.prlimit(java, resource.RLIMIT_FSIZE)
    resource.prlimit(java, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        try:
            resource.prlimit(java, resource.RLIMIT_FSIZE, (hard, hard))
        except ProcessLookupError:
            return


def wait_stopped(driver: Driver, seconds: float = 120) -> None:
    """Until the driver has paused itself at its place."""
    wait_for(lambda: _stat(driver.process.pid)[0] == "T", seconds, driver.text)


def resume(driver: Driver) -> None:
    os.kill(driver.process.pid, signal.SIGCONT)


def java_of(driver: Driver) -> int:
    """The process id of the driver's JVM."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text().strip()
                if name == "java" and int(_stat(int(entry.name))[2]) == driver.process.pid:
                    return int(entry.name)
            except (FileNotFoundError, ProcessLookupError):
                continue
    raise AssertionError("the driver has no JVM")


def _stat(process: int) -> list[str]:
    """Fields of /proc/N/stat after the name: state, parent, process group …"""
    return (Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing below the folder can be written or created."""
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~_WRITABLE)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


class SmallDisk(AbstractContextManager["SmallDisk"]):
    """A file system of so many bytes, unmounted at the end. Skips the test where mounting is not permitted."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self._size = folder, size
        self._filler = folder / "filler"

    def __enter__(self) -> "SmallDisk":
        self.folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={self._size}", "tidemark-test", str(self.folder)]
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
            pytest.skip("a file system cannot be mounted here")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def fill(self, left: int) -> None:
        """Leave so many bytes, in whole pages."""
        with self._filler.open("wb") as file:
            free = os.statvfs(self.folder)
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - left)

    def free(self) -> None:
        self._filler.unlink()
