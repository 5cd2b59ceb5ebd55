"""What Spark's Python workers should not do for each task."""

import gc
import sys
from functools import cache
from zipimport import zipimporter


def keep_archives() -> None:
    """Let this process read the directory of each archive on its path only once.

    Before every task, Spark has a worker forget what it knows of its path, and Python then reads all of the archives
    on it again, Spark's own jar among them: 0.2 s, in which the task waits.
    """
    for importer in sys.path_importer_cache.values():
        if isinstance(importer, zipimporter):
            importer.invalidate_caches = _keep  # type: ignore[method-assign]


def _keep() -> None:
    """An archive does not change while a process runs."""


@cache
def keep_objects() -> None:
    """Let this process no longer search for garbage in what it holds now, its modules above all. Acts once.

    After every task, Spark has a worker collect all garbage, which goes through every object: 30 ms, in which the next
    task waits. To be called when what the tasks need is imported and compiled.
    """
    gc.freeze()
