"""`tidemark batch`: the nightly batch."""

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import print_json, print_table
from conf.settings import load_settings

if TYPE_CHECKING:
    from spark_jobs.batch_report import BatchReport

_METRIC_COLUMNS = ("metric", "state", "sealed_through", "version", "dirty", "new", "rows", "gate", "parity")


def command(
    through: Annotated[
        str | None, typer.Option("--through", metavar="ISO", help="The new sealed_through; default: last UTC midnight.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Recompute everything below --through.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Silver, gold, gates, publish, parity: move sealed_through of every metric whose gates pass."""
    report = _run(through, full)
    document = report.to_document()
    if as_json:
        print_json(document)
    else:
        print_table([_metric_row(name, each) for name, each in document["metrics"].items()], _METRIC_COLUMNS)
    report.raise_for_gates()


def _run(through: str | None, full: bool) -> "BatchReport":
    from rich.console import Console

    from spark_jobs import nightly
    from spark_jobs.script import parse_through, registry_of, spark_source

    settings, now = load_settings(), time.time()
    moment, registry = parse_through(through), registry_of(settings)
    console = Console(stderr=True)
    with console.status("batch: waiting for the lake") as status:
        show = status.update if sys.stderr.isatty() else None
        return nightly.run(spark_source("batch", settings), settings, registry, moment, now, full, show)


def _metric_row(name: str, entry: dict[str, Any]) -> dict[str, object]:
    parity = entry["parity"]
    compared = f"{parity['windows'] - parity['mismatched']}/{parity['windows']} equal" if parity["windows"] else "-"
    return {**entry, "metric": name, "dirty": entry["granules_dirty"], "new": entry["granules_new"], "parity": compared}
