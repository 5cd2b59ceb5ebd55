"""Notices that definitions changed on disk, and loads them again.

A file that does not compile is logged and left out; the others go on. When the contracts cannot be loaded, the
definitions in force stay in force.
"""

from pathlib import Path

import structlog

from conf.settings import PACKAGED, Settings
from tidemark.errors import UserError
from tidemark.metrics.registry import Registry, load_registry

LOG = structlog.get_logger()
Signature = tuple[tuple[str, int, int], ...]


class RegistryWatch:
    """The definitions in force."""

    def __init__(self, settings: Settings) -> None:
        self._folders = settings.definition_folders
        self._signature = self._sign()
        self.registry = load_registry(self._folders, PACKAGED, strict=False)
        self._report(self.registry)

    def changed(self) -> Registry | None:
        """The new definitions, once, when files changed and could be loaded; else None."""
        signature = self._sign()
        if signature == self._signature:
            return None
        self._signature = signature
        try:
            registry = load_registry(self._folders, PACKAGED, strict=False)
        except (UserError, OSError) as error:
            LOG.error("changed definitions cannot be used, the old ones stay", error=str(error))
            return None
        self._report(registry)
        self.registry = registry
        return registry

    def _sign(self) -> Signature:
        files = [f for folder in self._folders for part in ("contracts", "metrics") for f in _files(folder / part)]
        return tuple(sorted(files))

    def _report(self, registry: Registry) -> None:
        for error in registry.errors:
            LOG.error("definition left out", error=str(error))


def _files(folder: Path) -> list[tuple[str, int, int]]:
    found = []
    for file in folder.glob("*.y*ml"):
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        found.append((str(file), status.st_mtime_ns, status.st_size))
    return found
