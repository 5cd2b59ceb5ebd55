"""`tidemark status`: what came in, what became of it, and how far every metric is sealed."""

import asyncio
import time
from typing import Annotated, Any

import typer

from cli.output import print_json
from conf.settings import Settings, load_settings


def command(json: Annotated[bool, typer.Option("--json", help="one JSON document")] = False) -> None:
    """Counts and lag per contract; sealed_through, version, gate and parity per metric."""
    document = asyncio.run(_status(load_settings()))
    if json:
        print_json(document)
    else:
        _print_tables(document)


async def _status(settings: Settings) -> dict[str, Any]:
    from serving.deps import open_services
    from serving.status import status

    services = await open_services(settings)
    try:
        return await status(services, time.time())
    finally:
        await services.close()


def _print_tables(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    contracts = Table("contract", "received", "valid", "quarantined", "duplicates", "late", "lag s", "watermark")
    for name, entry in document["contracts"].items():
        counts = (entry[key] for key in ("received", "valid", "quarantined", "duplicates", "late", "lag_seconds"))
        contracts.add_row(name, *(f"{count:,}" for count in counts), entry["watermark"] or "-")
    metrics = Table("metric", "sealed through", "version", "gate", "windows compared", "mismatched", "max rel. error")
    for name, entry in document["metrics"].items():
        parity = entry["parity"]
        compared = (f"{parity['windows']:,}", f"{parity['mismatched']:,}", f"{parity['max_relative_error']:.2g}")
        metrics.add_row(name, entry["sealed_through"] or "-", str(entry["version"]), entry["gate"] or "-", *compared)
    console = Console()
    console.print(contracts)
    console.print(metrics)
