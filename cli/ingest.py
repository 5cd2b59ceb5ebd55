"""`tidemark ingest`: appends newline-delimited JSON to the configured source."""

import sys
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cli.output import print_json
from conf.settings import PACKAGED, Settings, load_settings
from intake.record_files import check_readable, read_records
from intake.source import Source, open_source
from tidemark.contracts import Contract, load_contracts
from tidemark.errors import Fault, UserError


def command(
    contract: Annotated[str, typer.Argument(help="The contract of the events, e.g. access.")],
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="NDJSON, also .gz; - is standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Append events to the source; they are durable when the counts are printed."""
    settings = load_settings()
    source = open_source(settings, find_contract(settings, contract))
    check_readable(files)
    counts = _append(source, files, quiet=as_json or not sys.stderr.isatty())
    if as_json:
        print_json({"contract": contract, **counts})
    else:
        said = ", ".join(f"{number} {name}" for name, number in counts.items())
        print(f"{contract}: {said}; durable")


def find_contract(settings: Settings, name: str) -> Contract:
    """The newest version of a contract of the configured definitions, else of those that ship."""
    folders = [folder / "contracts" for folder in settings.definition_folders]
    known = load_contracts(folders)
    if name not in known:
        known = {**load_contracts([PACKAGED / "contracts"]), **known}
    if name not in known:
        raise UserError(f"unknown contract {name!r}; known: {', '.join(known)}")
    return known[name].newest


def _append(source: Source, files: list[str], quiet: bool) -> dict[str, int]:
    counts = {"records": 0, "bytes": 0, "segments": 0}
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} records durable"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task("ingest", total=None)
        unreadable: list[UserError] = []
        try:
            for step in source.append_steps(_records(files, unreadable)):
                counts["records"] += step.records
                counts["bytes"] += step.size_bytes
                counts["segments"] += 1
                progress.update(task, completed=counts["records"])
        except Fault as error:
            raise Fault(f"{error}; the first {counts['records']} records are durable") from error
    if unreadable:
        raise UserError(f"{unreadable[0]}; the {counts['records']} records before it are durable")
    return counts


def _records(files: list[str], unreadable: list[UserError]) -> Iterator[bytes]:
    """All records up to the first place that cannot be read: what came before it is appended, then it is reported."""
    try:
        for name in files:
            yield from read_records(name)
    except UserError as error:
        unreadable.append(error)
