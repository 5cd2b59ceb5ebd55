"""The metrics and contracts being served, re-read when a file of theirs changes, without a restart."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from conf.settings import PACKAGED
from tidemark.contracts import ContractSet
from tidemark.errors import DefinitionError, Fault, NotFound, UserError
from tidemark.metrics.compiler import compile_metric
from tidemark.metrics.model import Metric
from tidemark.metrics.registry import Registry, load_registry
from tidemark.publication import Publication

log = logging.getLogger("tidemark.serving")

LOOK_EVERY_S = 2.0

_Stamp = tuple[tuple[str, int, int], ...]


class Catalogue:
    """The current registry. One broken file leaves out what it defines and is logged; the rest is served."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._stamp = self._look()
        self._looked_at = time.monotonic()
        self._registry = self._load()
        self._published: dict[str, Metric] = {}

    @property
    def registry(self) -> Registry:
        """The registry as of at most LOOK_EVERY_S ago."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                self._reload()
        return self._registry

    def _reload(self) -> None:
        try:
            self._registry = self._load()
        except UserError as error:
            log.error("definitions cannot be read, the last good ones are served: %s", error)

    def metric(self, name: str) -> Metric:
        """The metric as it is defined now. Raises NotFound."""
        metric = self.registry.metrics.get(name)
        if metric is None:
            raise NotFound("metric", f"there is no metric {name!r}")
        return metric

    def contract(self, name: str) -> ContractSet:
        """Raises NotFound."""
        contract = self.registry.contracts.get(name)
        if contract is None:
            raise NotFound("contract", f"there is no contract {name!r}")
        return contract

    def served(self, metric: Metric, publication: Publication | None) -> Metric:
        """The definition that answers: the published one until batch has filled the new one's history."""
        if publication is None or publication.family == metric.family:
            return metric
        if publication.family not in self._published:
            self._published[publication.family] = self._compile(publication)
        return self._published[publication.family]

    def _compile(self, publication: Publication) -> Metric:
        try:
            metric = compile_metric(publication.definition, self.registry.contracts)
        except DefinitionError as error:
            raise Fault(f"{publication.metric}: its published definition no longer compiles: {error}") from error
        if metric.family != publication.family:
            raise Fault(f"{publication.metric}: its published definition now compiles to {metric.family}")
        return metric

    def _load(self) -> Registry:
        registry = load_registry(self._folders, PACKAGED, strict=False)
        for error in registry.errors:
            log.warning("definition left out: %s", error)
        return registry

    def _look(self) -> _Stamp:
        kinds = ("contracts", "metrics")
        files = (file for folder in self._folders for kind in kinds for file in (folder / kind).glob("*.y*ml"))
        stats = ((str(file), file.stat()) for file in sorted(files))
        return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)
