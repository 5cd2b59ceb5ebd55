"""`tidemark definitions validate`: can these contracts and metrics be used, and how does each measure decompose."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import print_json
from conf.settings import PACKAGED, load_settings
from tidemark.contracts import Contract, ContractSet, load_contracts, read_contract
from tidemark.errors import ContractError, DefinitionError, UserError
from tidemark.metrics.compiler import compile_metric
from tidemark.metrics.explain import explain_component, explain_final
from tidemark.metrics.model import Metric
from tidemark.metrics.registry import load_registry, read_document
from tidemark.windows import window_name

app = typer.Typer(no_args_is_help=True, help="Contracts and metrics.")


@app.callback()
def _definitions() -> None:
    """Contracts and metrics."""


@app.command()
def validate(
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Default: all configured.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Check definitions and say how each measure accumulates, merges and finalises. Exit 2 when one cannot be used."""
    folders = load_settings().definition_folders
    contracts, metrics, errors = _given(files, folders) if files else _configured(folders)
    if as_json:
        print_json({"contracts": contracts, "metrics": metrics, "errors": errors})
    else:
        _print(contracts, metrics)
    if errors:
        raise UserError(errors[0] if len(errors) == 1 else f"{len(errors)} unusable: " + "; ".join(errors))


Report = tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]


def _configured(folders: Sequence[Path]) -> Report:
    registry = load_registry(folders, packaged=PACKAGED, strict=False)
    contracts = [_contract(version) for each in registry.contracts.values() for version in each.versions]
    metrics = [_metric(metric) for metric in registry.metrics.values()]
    return contracts, metrics, [str(error) for error in registry.errors]


def _given(files: Sequence[Path], folders: Sequence[Path]) -> Report:
    """Contracts first: a metric may be over one that is given with it."""
    contracts: list[dict[str, Any]] = []
    metrics: list[dict[str, Any]] = []
    errors: list[str] = []
    known = {**load_contracts([PACKAGED / "contracts"]), **load_contracts([folder / "contracts" for folder in folders])}
    documents: dict[Path, Any] = {}
    for file in files:
        try:
            documents[file] = read_document(file)
        except DefinitionError as error:
            errors.append(f"{file}: {error}")
    for file, document in sorted(documents.items(), key=lambda item: not _is_contract(item[1])):
        try:
            if _is_contract(document):
                contract = read_contract(document, str(file))
                known[contract.name] = _with_version(known, contract)
                contracts.append(_contract(contract))
            else:
                metrics.append(_metric(compile_metric(document, known)))
        except ContractError as error:
            errors.append(str(error))
        except DefinitionError as error:
            errors.append(f"{file}: {error}")
    return contracts, metrics, errors


def _is_contract(document: Any) -> bool:
    return isinstance(document, Mapping) and "fields" in document


def _with_version(known: Mapping[str, ContractSet], contract: Contract) -> ContractSet:
    others = known[contract.name].versions if contract.name in known else ()
    versions = [each for each in others if each.version != contract.version]
    return ContractSet(contract.name, tuple(sorted([*versions, contract], key=lambda each: each.version)))


def _contract(contract: Contract) -> dict[str, Any]:
    return {
        "name": contract.name,
        "version": contract.version,
        "event_time": contract.event_time,
        "late_after_s": contract.late_after_s,
        "dedupe": contract.dedupe,
        "fields": {field.name: str(field.type) for field in contract.fields},
    }


def _metric(metric: Metric) -> dict[str, Any]:
    return {
        "name": metric.name,
        "contract": metric.contract,
        "family": metric.family,
        "lane": metric.lane,
        "batch_only": metric.batch_only,
        "windows": [window_name(seconds) for seconds in metric.windows],
        "dims": [dim.name for dim in metric.dims],
        "components": [explain_component(each, number) for number, each in enumerate(metric.components)],
        "measures": {output.name: explain_final(output.final) for output in metric.outputs},
    }


def _print(contracts: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]) -> None:
    for each in contracts:
        print(f"contract {each['name']} version {each['version']}: {len(each['fields'])} fields, late after "
              f"{each['late_after_s']} s")  # fmt: skip
    for each in metrics:
        by = ", ".join(each["dims"]) or "nothing (one row per window)"
        print(f"metric {each['name']} over {each['contract']}, by {by}; windows {', '.join(each['windows'])}")
        for component in each["components"]:
            print(f"    {component['name']} accumulates {component['accumulate']}, merges by {component['merge']}")
        for name, final in each["measures"].items():
            print(f"    {name} = {final}")
