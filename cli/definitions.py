"""`tidemark definitions validate`: can these contracts and metrics be used, and how does each measure decompose."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.output import print_json
from conf.settings import PACKAGED, load_settings
from tidemark.contracts import Contract, ContractSet, contract_set, load_contracts, read_contract
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
    metrics: list[dict[str, Any]] = []
    errors: list[str] = []
    read: list[tuple[Contract, Path]] = []
    documents: dict[Path, Any] = {}
    for file in files:
        try:
            documents[file] = read_document(file)
            if _is_contract(documents[file]):
                read.append((read_contract(documents[file], str(file)), file))
        except ContractError as error:
            errors.append(str(error))
        except DefinitionError as error:
            errors.append(f"{file}: {error}")
    configured = load_contracts([folder / "contracts" for folder in folders])
    contracts, known, refused = _accept(read, configured)
    known = {**load_contracts([PACKAGED / "contracts"]), **configured, **known}
    for file in (file for file, document in documents.items() if not _is_contract(document)):
        try:
            metrics.append(_metric(compile_metric(documents[file], known)))
        except DefinitionError as error:
            errors.append(f"{file}: {error}")
    return [_contract(contract) for contract in contracts], metrics, refused + errors


def _accept(
    read: Sequence[tuple[Contract, Path]], configured: Mapping[str, ContractSet]
) -> tuple[list[Contract], dict[str, ContractSet], list[str]]:
    """The versions that can be used beside the others of their contract, the sets with them, and why not the rest.

    A version that is given replaces the configured one of its number, as an edited file would.
    """
    sets: dict[str, ContractSet] = {}
    accepted: dict[tuple[str, int], tuple[Contract, Path]] = {}
    refused: list[str] = []
    numbers = {(contract.name, contract.version) for contract, _ in read}
    for contract, file in sorted(read, key=lambda pair: pair[0].version):
        name, where = contract.name, f"{file} beside what is configured"
        others = configured[name].versions if name in configured else ()
        beside: list[tuple[Contract, Path | str]] = [
            *((each, where) for each in others if (name, each.version) not in numbers),
            *(pair for (of, _), pair in accepted.items() if of == name),
            (contract, file),
        ]
        try:
            if (name, contract.version) in accepted:
                other = accepted[name, contract.version][1]
                raise ContractError(f"{file}: version {contract.version} of {name!r} is already in {other}")
            sets[name] = contract_set(name, sorted(beside, key=lambda pair: pair[0].version))
            accepted[name, contract.version] = contract, file
        except ContractError as error:
            refused.append(str(error))
    return [contract for contract, _ in accepted.values()], sets, refused


def _is_contract(document: Any) -> bool:
    return isinstance(document, Mapping) and "fields" in document


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
