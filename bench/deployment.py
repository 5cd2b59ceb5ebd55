"""What a benchmark runs on: a folder with a home, an embedded Redis and a Kafka broker; all end with it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import redis

from conf.settings import Settings
from runtime import redis_server
from tests.kafka_broker import KafkaBroker

TIDEMARK = Path(sys.executable).with_name("tidemark")
ROOT = Path(__file__).parents[1]


class Deployment(AbstractContextManager["Deployment"]):
    """`environment` goes to every command. A home can be emptied between runs; the topics stay.

    A run that is told to end (SIGTERM) ends what it started, as one that fails.
    """

    def __init__(self, *, kafka: bool = False) -> None:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        self.folder = Path(tempfile.mkdtemp(prefix="tidemark-bench-"))
        self.home = self.folder / "home"
        self.environment = {"TIDEMARK_HOME": str(self.home), "TIDEMARK_LOG_LEVEL": "warning", "PYTHONPATH": str(ROOT)}
        self.broker: KafkaBroker | None = None
        self._open = ExitStack()
        self._open.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.home.mkdir()
        self._redis_home = Settings(env="local", home=self.folder)
        self.redis_url = redis_server.redis_url(self._redis_home)
        self._open.callback(redis_server.stop_embedded, self._redis_home)
        self.environment["TIDEMARK_REDIS_URL"] = self.redis_url
        if kafka:
            (self.folder / "kafka").mkdir()
            self.broker = KafkaBroker(self.folder / "kafka")
            self._open.callback(self.broker.stop)
            try:
                bootstrap = self.broker.start()
            except BaseException:
                self._open.close()
                raise
            self.environment |= {"TIDEMARK_SOURCE": "kafka", "TIDEMARK_KAFKA_BOOTSTRAP": bootstrap}

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def callback(self, function: Callable[[], object]) -> None:
        """To be called at the end, before everything that was started earlier ends."""
        self._open.callback(function)

    def empty(self) -> None:
        """An empty home and an empty Redis; the source stays."""
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()

    def run(self, *arguments: str, seconds: float = 1800) -> float:
        """Wall-clock seconds of `tidemark ARGUMENTS`, the start of its process included. A failure ends the run."""
        started = time.monotonic()
        self.output([str(TIDEMARK), *arguments], seconds)
        return time.monotonic() - started

    def module(self, name: str, *arguments: str, seconds: float = 1800) -> Any:
        """The JSON document that `python -m NAME ARGUMENTS` prints last."""
        return json.loads(self.output([sys.executable, "-m", name, *arguments], seconds).splitlines()[-1])

    def output(self, command: list[str], seconds: float) -> str:
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=seconds, cwd=ROOT
        )
        if done.returncode:
            sys.exit(f"{' '.join(command[1:4])} ended with {done.returncode}: {done.stderr[-3000:]}")
        return done.stdout

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """`tidemark ARGUMENTS` in the background, ended with the deployment."""
        log = (self.folder / f"{arguments[0]}.log").open("ab")
        self._open.callback(log.close)
        process = subprocess.Popen(
            [str(TIDEMARK), *arguments],
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
        self._open.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_s(process: psutil.Process) -> float:
    """CPU seconds that a process and those below it have used, user and system."""
    used = 0.0
    for each in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # a worker that has just ended
            times = each.cpu_times()
            used += float(times.user + times.system)
    return used


def lines(file: Path) -> Iterator[bytes]:
    """Records of an NDJSON file."""
    with file.open("rb") as opened:
        for line in opened:
            yield line.rstrip(b"\n")
