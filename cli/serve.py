"""`tidemark serve`: the API, until it is told to stop."""

from typing import Annotated

import typer

from cli.output import note
from conf.settings import load_settings


def command(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="processes")] = 1,
) -> None:
    """Serve answers, events and health over HTTP. Ends cleanly on SIGINT and SIGTERM."""
    from serving.server import serve

    note(f"serving on http://{host}:{port}")
    serve(load_settings(), host, port, workers)
