"""`tidemark plan`: what a load needs, each figure with its formula and what it rests on."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from cli.output import print_json, print_table
from conf.capacity import load_coefficients
from tidemark.capacity import Coefficient, Figure, Load, plan
from tidemark.errors import UserError
from tidemark.metrics.definition import duration_seconds
from tidemark.windows import window_seconds


def command(
    events_per_hour: Annotated[
        float, typer.Option("--events-per-hour", help="Events of all contracts, on the average.")
    ],
    keys: Annotated[int, typer.Option("--keys", help="Distinct groups of a metric: devices, users, products.")],
    windows: Annotated[str, typer.Option("--windows", help="Window lengths of every metric.")] = "10m,30m",
    metrics: Annotated[int, typer.Option("--metrics", help="Metrics over these events.")] = 1,
    sketches: Annotated[int, typer.Option("--sketches", help="How many of the metrics hold a sketch.")] = 0,
    event_bytes: Annotated[float, typer.Option("--event-bytes", help="Of one event as JSON.")] = 200,
    peak: Annotated[float, typer.Option("--peak", help="The busiest seconds over the average.")] = 3,
    hot: Annotated[str, typer.Option("--hot", help="How long sealed windows stay in Redis.")] = "24h",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Size a deployment: partitions, shards, cores, Redis, state and storage, from measured coefficients."""
    coefficients = load_coefficients()
    lengths = tuple(window_seconds(name.strip()) for name in windows.split(","))
    load = Load(events_per_hour, keys, lengths, metrics, sketches, event_bytes, peak, _seconds("--hot", hot))
    figures = plan(load, coefficients)
    used = {name: coefficients[name] for figure in figures for name in figure.rests_on}
    if as_json:
        rests = {name: asdict(each) for name, each in used.items()}
        print_json({"load": asdict(load), "figures": [asdict(each) for each in figures], "coefficients": rests})
        return
    print_table(map(_figure_row, figures), ("what", "needs", "basis", "formula"))
    print()
    print_table(map(_coefficient_row, used.values()), ("coefficient", "value", "basis", "date", "source"))


def _seconds(option: str, text: str) -> int:
    try:
        return duration_seconds(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None


def _figure_row(figure: Figure) -> dict[str, Any]:
    return {"what": figure.name, "needs": f"{_number(figure.value)} {figure.unit}".strip()} | {
        "basis": figure.basis,
        "formula": figure.formula,
    }


def _coefficient_row(each: Coefficient) -> dict[str, Any]:
    value = f"{_number(each.value)} {each.unit}".strip()
    return {"coefficient": each.name, "value": value, "basis": each.basis, "date": each.date, "source": each.source}


def _number(value: float) -> str:
    """Whole numbers whole, others with three significant digits."""
    return f"{value:,.0f}" if float(value).is_integer() or value >= 1000 else f"{value:.3g}"
