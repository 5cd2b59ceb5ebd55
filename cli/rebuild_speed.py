"""`tidemark rebuild-speed`: fills an empty Redis from the speed queries' own state."""

from typing import Annotated

import typer

from cli.output import print_json, print_table
from conf.settings import load_settings

_COLUMNS = ("contract", "lane", "views", "covered_from")


def command(
    source_contract: Annotated[
        list[str] | None, typer.Option("--source-contract", help="Only this contract; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Restore the speed views in Redis from the checkpoints; views that are intact are left alone."""
    from streaming.rebuild_job import run

    rows = run(load_settings(), source_contract or ())
    if as_json:
        print_json({"rebuilt": rows})
    else:
        print_table(rows, _COLUMNS)
