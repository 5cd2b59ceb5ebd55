"""`tidemark reset-speed`: new checkpoints for the speed layer, on the same tables."""

from typing import Annotated

import typer

from cli.output import note, print_json, print_table
from conf.settings import load_settings

_COLUMNS = ("contract", "lane", "before", "checkpoint", "covered_from", "records_kept")


def command(
    source_contract: Annotated[
        list[str] | None, typer.Option("--source-contract", help="Only this contract; may be repeated.")
    ] = None,
    lane: Annotated[
        list[str] | None, typer.Option("--lane", help="Only this query: lake, exact or sketch; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Begin the speed layer anew from sealed_through, when its checkpoints are lost or damaged; no stream may run."""
    from streaming.reset_job import run

    rows = run(load_settings(), source_contract or (), lane or ())
    if as_json:
        print_json({"reset": rows})
    else:
        print_table(rows, _COLUMNS)
    note(f"{len(rows)} queries begin anew; the next `tidemark stream` reads their source again, nothing counted twice")
