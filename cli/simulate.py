"""`tidemark simulate`: seeded traffic of a pack to the source, the API or a file, and the ledger of what must count."""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cli.ingest import find_contract
from cli.output import note, print_json
from conf.settings import load_settings
from data.emit import FileTarget, SourceTarget, Sums, Target, at_once, at_pace, emit, open_output
from data.faults import Faults
from data.http_target import HttpTarget
from data.stream import Kind, Sent, open_pack, sent_records
from data.traffic import Traffic
from intake.source import open_source
from tidemark.errors import UserError
from tidemark.windows import epoch_seconds, parse_instant

_MOST_RECORDS = 2**40
SOURCE, HTTP = "source", "http"
_ANOMALOUS = 0.01
"""Share of the records with `--anomalies`."""
Share = Annotated[float, typer.Option(help="Share of the records, 0 to 1.")]


def command(
    pack: Annotated[str, typer.Argument(help="access, telemetry, clickstream or orders.")],
    rate: Annotated[float, typer.Option(help="Records a second, on average.")],
    seconds: Annotated[float, typer.Option(help="Length of the traffic in event time.")],
    seed: Annotated[int, typer.Option(help="The same seed and arguments give the same bytes.")],
    start: Annotated[str | None, typer.Option(help="Event time of the first; without: now, and sent at pace.")] = None,
    late: Share = 0.0,
    duplicates: Share = 0.0,
    invalid: Share = 0.0,
    anomalies: Annotated[
        bool, typer.Option("--anomalies", help="A hundredth of the records carry a value out of the ordinary.")
    ] = False,
    to: Annotated[str, typer.Option(help="source, http, or a file (.gz packs it, - is standard output).")] = SOURCE,
    ledger: Annotated[str | None, typer.Option(help="File for the exact distinct valid events.")] = None,
    url: Annotated[str, typer.Option(help="The API, for --to http.")] = "http://127.0.0.1:8000",
    keys: Annotated[int | None, typer.Option(help="Devices or products; each pack has its own default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Send seeded traffic of a pack: RATE x SECONDS records, faults included."""
    open_pack(pack)
    _check_size(rate, seconds, keys)
    start_ms = round((time.time() if start is None else epoch_seconds(parse_instant(start, "--start"))) * 1000)
    faults = Faults(late, duplicates, invalid, _ANOMALOUS if anomalies else 0.0)
    traffic = Traffic(pack, rate, seconds, seed, start_ms, keys, faults)
    records = sent_records(traffic, find_contract(load_settings(), pack))
    paced = start is None and to in (SOURCE, HTTP)
    batches = at_pace(records, start_ms) if paced else at_once(records)
    quiet = as_json or not sys.stderr.isatty()
    sums = _send(batches, traffic, to, url, ledger, quiet)
    _report(sums, pack, to, as_json)


def _check_size(rate: float, seconds: float, keys: int | None) -> None:
    if not (rate > 0 and seconds > 0 and rate * seconds < _MOST_RECORDS):
        raise UserError("--rate and --seconds must be more than 0, and their product a sensible number of records")
    if keys is not None and not 1 <= keys <= 10_000_000:
        raise UserError("--keys must be between 1 and 10000000")


def _send(batches: Iterable[list[Sent]], traffic: Traffic, to: str, url: str, ledger: str | None, quiet: bool) -> Sums:
    columns = (BarColumn(), TextColumn("{task.completed:,.0f}/{task.total:,.0f} records"), TimeElapsedColumn())
    sums = Sums()
    with (
        _open_target(to, traffic.pack, url) as target,
        ExitStack() as opened,
        Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress,
    ):
        book = opened.enter_context(open_output(ledger)) if ledger else None
        task = progress.add_task(traffic.pack, total=traffic.records)
        for sums in emit(batches, target, book):
            progress.update(task, completed=sums.records)
    return sums


@contextmanager
def _open_target(to: str, pack: str, url: str) -> Iterator[Target]:
    if to == SOURCE:
        settings = load_settings()
        yield SourceTarget(open_source(settings, find_contract(settings, pack)))
    elif to == HTTP:
        yield HttpTarget(url, pack)
    else:
        with open_output(to) as file:
            yield FileTarget(file)


def _report(sums: Sums, pack: str, to: str, as_json: bool) -> None:
    counts = {"records": sums.records, "ledger": sums.in_ledger, "bytes": sums.size_bytes}
    kinds = {kind.value: sums.kinds[kind] for kind in Kind}
    if as_json and to != "-":
        print_json({"pack": pack, "to": to, **counts, "kinds": kinds})
        return
    shown = ", ".join(f"{number} {name}" for name, number in kinds.items() if number)
    line = f"{pack}: {sums.records} records sent ({shown}), {sums.in_ledger} for the ledger"
    note(line) if to == "-" else print(line)
