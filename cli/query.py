"""`tidemark query METRIC`: the answer that the API would give, as JSON."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cli.output import note
from conf.settings import Settings, load_settings
from tidemark.errors import QueryError

if TYPE_CHECKING:
    from serving.query import Asked


def command(
    metric: Annotated[str, typer.Argument(help="name of the metric")],
    window: Annotated[str, typer.Option(help="length of the windows, as 10m")],
    from_: Annotated[str, typer.Option("--from", help="ISO 8601 with a zone; widened to a window edge")],
    to: Annotated[str, typer.Option("--to", help="exclusive; ISO 8601 with a zone")],
    dim: Annotated[list[str] | None, typer.Option("--dim", help="NAME=VALUE, repeated")] = None,
    group_by: Annotated[list[str] | None, typer.Option("--group-by", help="a dimension, repeated")] = None,
    top: Annotated[str | None, typer.Option(help="keep only so many groups")] = None,
    order_by: Annotated[str | None, typer.Option(help="the measure to rank by; a leading - means descending")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="exit 1 when the range is not fully covered")] = False,
    json: Annotated[bool, typer.Option("--json", help="the answer is JSON in any case")] = False,
) -> None:
    """Answer a question about a metric: sealed points from batch, later ones from speed, gaps named."""
    from serving.query import Asked

    dims = tuple(_as_parameter(text) for text in dim or ())
    asked = Asked(metric, window, from_, to, dims, tuple(group_by or ()), top, order_by, strict)
    document = asyncio.run(_answer(load_settings(), asked))
    sys.stdout.write(document[0] + "\n")
    if strict and not document[1]:
        note("tidemark: the range is not fully covered, see `missing`")
        raise typer.Exit(1)


def _as_parameter(dim: str) -> str:
    name, equals, value = dim.partition("=")
    if not equals:
        raise QueryError("--dim", f"{dim!r} is not of the form NAME=VALUE")
    return f"{name}:{value}"


async def _answer(settings: Settings, asked: "Asked") -> tuple[str, bool]:
    """(JSON text, whether the answer is complete)."""
    from serving.deps import open_services
    from serving.documents import encode_for_people

    services = await open_services(settings)
    try:
        answer = await services.answers.answer(asked)
    finally:
        await services.close()
    return encode_for_people(answer.document), answer.complete
