"""One real Kafka broker (KRaft, a single node) for the tests, started and ended by process id."""

import base64
import os
import subprocess
import time
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from runtime.jars import jars_folder, java_binary, missing
from runtime.ports import free_port

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


class KafkaBroker:
    """A broker with its data below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bootstrap = f"127.0.0.1:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Format the log folder, start, wait until the broker answers; its bootstrap address."""
        if missing("kafka"):
            raise RuntimeError("the broker of the tests is missing: run python -m runtime.jars kafka")
        properties = self.folder / "server.properties"
        properties.write_text(self._properties(), encoding="ascii")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # One word with its option: one name in 64 begins with a dash.
        format_folder = ("format", f"--cluster-id={cluster}", "--config", str(properties))
        self._java("kafka.tools.StorageTool", *format_folder).wait(START_TIMEOUT_S)
        self._process = self._java("kafka.Kafka", str(properties))
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Kafka did not start, see {self.folder / 'broker.log'}")
        return self.bootstrap

    def stop(self) -> None:
        """End the process; it has nothing to keep."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """kill -9; `start` goes on with the same data at the same address."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=1)
        except KafkaException:
            return False
        return True

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [java_binary(), "-Xmx384m", "-cp", f"{jars_folder('kafka')}{os.sep}*", *arguments]
        with (self.folder / "broker.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)

    def _properties(self) -> str:
        controller = f"127.0.0.1:{free_port()}"
        lines = (
            "process.roles=broker,controller",
            "node.id=1",
            f"controller.quorum.voters=1@{controller}",
            f"listeners=PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            f"advertised.listeners=PLAINTEXT://{self.bootstrap}",
            "controller.listener.names=CONTROLLER",
            f"log.dirs={self.folder / 'logs'}",
            "num.partitions=2",
            "offsets.topic.replication.factor=1",
            "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1",
            "group.initial.rebalance.delay.ms=0",
        )
        return "\n".join(lines) + "\n"
