"""`tidemark status`: what came in, what became of it, and how far every metric is sealed."""

import asyncio
import time
from typing import Annotated, Any

import typer

from cli.output import print_json, print_table
from conf.settings import Settings, load_settings

_CONTRACT = ("contract", "received", "valid", "quarantined", "duplicates", "late", "lag_seconds", "watermark")
_METRIC = (
    "metric",
    "sealed_through",
    "version",
    "gate",
    "windows_compared",
    "mismatched",
    "max_relative_error",
    "failure",
)


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
    contracts = [{"contract": name, **entry} for name, entry in document["contracts"].items()]
    print_table(contracts, _CONTRACT)
    print()
    print_table([_metric_row(name, entry) for name, entry in document["metrics"].items()], _METRIC)


def _metric_row(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    parity = entry["parity"]
    compared = {"windows_compared": parity["windows"], "mismatched": parity["mismatched"]}
    return {"metric": name, **entry, **compared, "max_relative_error": f"{parity['max_relative_error']:.2g}"}
