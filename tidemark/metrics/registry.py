"""All definitions of a deployment: contracts and the metrics over them, loaded from folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tidemark.contracts import ContractSet, load_contracts
from tidemark.errors import DefinitionError
from tidemark.metrics.compiler import compile_metric
from tidemark.metrics.model import Metric


@dataclass(frozen=True, slots=True)
class Registry:
    """Compiled definitions by name. `errors`: files that could not be used, when loading was lenient."""

    contracts: Mapping[str, ContractSet]
    metrics: Mapping[str, Metric]
    errors: tuple[DefinitionError, ...] = ()

    def metrics_of(self, contract: str) -> tuple[Metric, ...]:
        """The metrics over one contract, by name."""
        return tuple(metric for _, metric in sorted(self.metrics.items()) if metric.contract == contract)


def load_registry(folders: Sequence[Path], packaged: Path | None = None, strict: bool = True) -> Registry:
    """Load `contracts/` and `metrics/` of every folder.

    Contracts that the folders lack are looked up in `packaged`, so a folder may bring metrics alone. With `strict` the
    first unusable metric raises; without, it is put into `errors` and the others go on: a poisoned release of one
    definition must not take the others down.
    """
    contracts = {
        **(load_contracts([packaged / "contracts"]) if packaged else {}),
        **load_contracts([folder / "contracts" for folder in folders]),
    }
    metrics: dict[str, Metric] = {}
    errors: list[DefinitionError] = []
    for path in _metric_files(folders):
        try:
            metric = compile_metric(read_document(path), contracts)
            if metric.name in metrics:
                raise DefinitionError(f"metric {metric.name} is defined twice")
            metrics[metric.name] = metric
        except DefinitionError as error:
            located = DefinitionError(f"{path.name}: {error}")
            if strict:
                raise located from None
            errors.append(located)
    return Registry(contracts, metrics, tuple(errors))


def read_document(path: Path) -> Any:
    """A YAML file as plain data. DefinitionError when it cannot be read as one."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"cannot be read: {type(error).__name__}") from None
    except RecursionError:
        raise DefinitionError("YAML is nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None)
        raise DefinitionError(f"not valid YAML{f': {problem}' if problem else ''}{place}") from None


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that is given twice, where YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _metric_files(folders: Sequence[Path]) -> list[Path]:
    return [path for folder in folders for path in sorted((folder / "metrics").glob("*.y*ml"))]
