"""`tidemark redis start | stop`: the embedded server of this home."""

import typer

from cli.output import note
from conf.settings import load_settings
from runtime.redis_server import redis_url, stop_embedded

app = typer.Typer(no_args_is_help=True, help="The embedded Redis server of this home.")


@app.command()
def start() -> None:
    """Start the server (every command that needs it does so by itself) and print its URL."""
    print(redis_url(load_settings()))


@app.command()
def stop() -> None:
    """End the server; its data stays for the next start."""
    note("the embedded Redis has ended" if stop_embedded(load_settings()) else "no embedded Redis runs here")
