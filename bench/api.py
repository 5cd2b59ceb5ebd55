"""The API under measurement: `tidemark serve` with so many workers, and the CPU that it and Redis use."""

import json
import subprocess
import time
import urllib.request
from types import TracebackType
from typing import Any

import psutil
import redis

from bench.deployment import Deployment, cpu_s
from runtime.ports import free_port

READY_S = 60.0


class Api:
    """Runs from `with` to its end."""

    def __init__(self, deployment: Deployment, workers: int) -> None:
        self._deployment = deployment
        self._workers = workers
        self.port = free_port()
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> "Api":
        arguments = ("serve", "--port", str(self.port), "--workers", str(self._workers))
        self._process = self._deployment.start(*arguments)
        wait_until_ready(self.port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(30)

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as reply:
            return json.loads(reply.read())

    def cpu_s(self) -> float:
        """Of the server and its workers, so far."""
        server = psutil.Process(self._process.pid)
        return cpu_s(server)


def redis_cpu_s(redis_url: str) -> float:
    """Of the Redis server, so far."""
    with redis.Redis.from_url(redis_url) as client:
        used = client.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def wait_until_ready(port: int) -> None:
    """Until `/health/live` answers."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=2):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
