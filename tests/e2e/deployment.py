"""A whole deployment on the test's own home, driven in this process: source, stream, lake, Redis, batch, serving.

One Spark session serves all steps; every `drain` and `batch` starts its queries and jobs anew, as a restart would.
"""

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conf.settings import PACKAGED, Settings
from intake.source import open_source
from runtime.redis_server import redis_url
from serving.query import Asked
from spark_jobs import nightly
from streaming.fenced_writer import connect
from streaming.supervisor import Supervisor
from tests.asking import ask, ask_status
from tests.packs import SHIPPED
from tests.stream_session import as_stream
from tidemark import keys
from tidemark.metrics.registry import load_registry
from tidemark.windows import iso

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Deployment:
    """`contracts`: the ones that take part; the others stay empty."""

    def __init__(self, spark: "SparkSession", settings: Settings, contracts: Iterable[str]) -> None:
        self.spark = spark
        self.settings = settings
        self.contracts = tuple(contracts)

    def ingest(self, contract: str, records: Iterable[bytes]) -> None:
        open_source(self.settings, SHIPPED.contracts[contract].newest).append(records)

    def drain(self) -> None:
        """`stream --once`."""
        client = connect(redis_url(self.settings))
        try:
            with as_stream(self.spark, self.settings):
                supervisor = Supervisor(lambda: self.spark, self.settings, client, self.contracts)
                supervisor.run(once=True, stop=threading.Event())
        finally:
            client.close()

    def batch(self, through: int, full: bool = False) -> dict[str, Any]:
        """`batch --through`; raises when a gate fails."""
        registry = load_registry(self.settings.definition_folders, packaged=PACKAGED)
        report = nightly.run(lambda: self.spark, self.settings, registry, through, time.time(), full)
        report.raise_for_gates()
        return report.to_document()

    def answer(self, metric: str, window: str, start: int, end: int, group_by: tuple[str, ...] = ()) -> dict[str, Any]:
        """The answer of the API."""
        return ask(self.settings, Asked(metric, window, iso(start), iso(end), (), group_by, None, None, False))

    def status(self) -> dict[str, Any]:
        return ask_status(self.settings)

    def forget_last_commit(self, contract: str, query: str) -> None:
        """As if the process had died between its writes and the commit of its last micro-batch."""
        commits = Path(keys.checkpoint(self.settings.checkpoints_uri, contract, query)) / "commits"
        newest = max(commits.glob("[0-9]*"), key=lambda file: int(file.name))
        newest.unlink()
        (commits / f".{newest.name}.crc").unlink(missing_ok=True)
