"""How much memory a driver and its JVM take, sampled from outside."""

import threading
from contextlib import AbstractContextManager, suppress

import psutil

from tests.faults.rig import Driver

_EVERY_S = 0.25
MIB = 1 << 20


class PeakMemory(AbstractContextManager["PeakMemory"]):
    """Bytes resident of a driver and all that it started, at their most while the context lasts.

    Shared pages count once per process, so the figure is rather too high.
    """

    def __init__(self, driver: Driver) -> None:
        self.bytes = 0
        self.parts: list[tuple[str, int]] = []
        self._process = psutil.Process(driver.process.pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def mib(self) -> int:
        return self.bytes // MIB

    def _sample(self) -> None:
        while not self._ended.wait(_EVERY_S):
            resident, parts = 0, []
            with suppress(psutil.Error):
                for each in (self._process, *self._process.children(recursive=True)):
                    with suppress(psutil.Error):
                        parts.append((each.name(), each.memory_info().rss // MIB))
                        resident += each.memory_info().rss
            if resident > self.bytes:
                self.bytes, self.parts = resident, parts
