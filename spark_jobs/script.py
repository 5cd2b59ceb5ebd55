"""What every job of this folder shares when it runs as a plain script: arguments, settings, session, exit code."""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

import structlog

from conf.settings import ENVIRONMENTS, PACKAGED, Settings, load_settings
from runtime.logs import configure_logging
from runtime.spark_session import build_session, starts_jvm
from runtime.storage_trouble import storage_trouble
from tidemark.contracts import ContractSet
from tidemark.errors import TidemarkError, UserError
from tidemark.metrics.registry import Registry, load_registry
from tidemark.windows import parse_instant

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = structlog.get_logger()
SparkSource = Callable[[], "SparkSession"]
"""The session, built by the first call: a batch with nothing to compute never starts a JVM."""
_OWN_JVM = {"spark.driver.defaultJavaOptions": "-XX:+UseParallelGC"}
"""A job has no latency that Java's default collector would keep low at the cost of throughput (decision 0021)."""


def spark_source(job: str, settings: Settings) -> SparkSource:
    """The session of this process, when first needed."""

    @cache
    def session() -> "SparkSession":
        return build_session(f"tidemark {job}", settings, extra=_OWN_JVM if starts_jvm(settings) else None)

    return session


def script_arguments(doc: str | None, argv: Sequence[str] | None, *options: str) -> argparse.Namespace:
    """`--env`, the names of contracts or metrics (all when none), and those of `options` that the job takes."""
    parser = argparse.ArgumentParser(description=(doc or "").strip())
    parser.add_argument("--env", choices=ENVIRONMENTS)
    if "--through" in options:
        parser.add_argument("--through", metavar="ISO")
    for flag in ("--full", "--json", "--dry-run"):
        if flag in options:
            parser.add_argument(flag, action="store_true")
    parser.add_argument("names", nargs="*")
    return parser.parse_args(argv)


def parse_through(text: str | None) -> int | None:
    """`--through` in whole seconds; None when not given. UserError unless ISO 8601 with a zone."""
    if text is None:
        return None
    moment: datetime = parse_instant(text, "--through")
    return int(moment.timestamp() // 1)


def contracts_of(settings: Settings, names: Sequence[str]) -> list[ContractSet]:
    """The contracts of these names, all when none is given; UserError for an unknown one."""
    known = registry_of(settings).contracts
    for name in names:
        if name not in known:
            raise UserError(f"unknown contract {name!r}; known: {', '.join(sorted(known))}")
    return [known[name] for name in (names or sorted(known))]


def registry_of(settings: Settings) -> Registry:
    """What is defined. A metric that does not compile is named in the log; the others go on."""
    registry = load_registry(settings.definition_folders, PACKAGED, strict=False)
    for error in registry.errors:
        log.error("definition left out", error=str(error))
    return registry


def run_script(job: str, arguments: argparse.Namespace, body: Callable[[SparkSource, Settings], bool]) -> int:
    """Exit code of a job: 0 done, 1 failed, 2 wrong use; the reason in one line on stderr."""
    try:
        settings = load_settings(arguments.env)
        configure_logging(settings)
        return 0 if body(spark_source(job, settings), settings) else 1
    except TidemarkError as error:
        print(f"{job}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except Exception as error:
        if trouble := storage_trouble(error):
            print(f"{job}: {trouble}", file=sys.stderr)
            return 1
        raise
