"""`tidemark stream`: the speed layer."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any

import typer

from cli.output import print_json, print_table
from conf.settings import load_settings

_COLUMNS = ("contract", "received", "valid", "quarantined")


def command(
    once: Annotated[bool, typer.Option("--once", help="Drain what is there, then exit.")] = False,
    source_contract: Annotated[
        list[str] | None, typer.Option("--source-contract", help="Only this contract; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Run the speed layer: lake writer and speed views, until Ctrl-C."""
    from streaming.speed_job import run

    settings = load_settings()
    with _live_line(wanted=sys.stderr.isatty() and not as_json) as show:
        rows = run(settings, source_contract or (), once=once, show=show)
    if as_json:
        print_json({"contracts": {row["contract"]: {k: row[k] for k in _COLUMNS[1:]} for row in rows}})
    else:
        print_table(rows, _COLUMNS)


def _live_line(*, wanted: bool) -> AbstractContextManager[Callable[[list[dict[str, Any]]], None] | None]:
    """A line on the terminal that counts along; None where nobody would see it."""
    if not wanted:
        return nullcontext(None)
    from rich.console import Console

    class Line(AbstractContextManager[Callable[[list[dict[str, Any]]], None]]):
        def __init__(self) -> None:
            self._status = Console(stderr=True).status("waiting for events")

        def __enter__(self) -> Callable[[list[dict[str, Any]]], None]:
            self._status.start()
            return self._update

        def __exit__(self, *_: object) -> None:
            self._status.stop()

        def _update(self, rows: list[dict[str, Any]]) -> None:
            told = [f"{row['contract']} {row['received']:,}" for row in rows if row["received"]]
            self._status.update("records in the lake: " + ", ".join(told) if told else "waiting for events")

    return Line()
