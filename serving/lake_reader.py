"""Delta tables without a JVM: delta-rs opens a pinned version, pyarrow scans it with the filter pushed down.

Blocking; callers run it in a thread. An opened version is immutable, so it is kept. delta-rs and datasets are
imported when first needed: they cost more than a whole answer from Redis.
"""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tidemark.errors import LakeUnavailable

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

OPEN_TABLES = 32


class LakeReader:
    """Opened table versions of one lake. Safe for threads."""

    def __init__(self) -> None:
        self._datasets: OrderedDict[tuple[str, int], Dataset] = OrderedDict()
        self._lock = Lock()

    def rows(
        self, uri: str, version: int | None, where: pc.Expression | None, columns: Sequence[str] | None = None
    ) -> pa.Table | None:
        """The rows of a table at a version (None: the newest). None when there is no such table."""
        dataset = self.dataset(uri, version)
        if dataset is None:
            return None
        try:
            return dataset.to_table(filter=where, columns=None if columns is None else list(columns))
        except (OSError, pa.ArrowException) as error:
            raise LakeUnavailable(f"{uri}: {error}") from error

    def dataset(self, uri: str, version: int | None = None) -> "Dataset | None":
        """A table at a version (None: the newest); None when there is no table. Raises LakeUnavailable."""
        if version is None:
            return _open(uri, None)
        with self._lock:
            known = self._datasets.get((uri, version))
        dataset = known if known is not None else _open(uri, version)
        if dataset is not None:
            self._keep((uri, version), dataset)
        return dataset

    def _keep(self, key: tuple[str, int], dataset: "Dataset") -> None:
        with self._lock:
            self._datasets[key] = dataset
            self._datasets.move_to_end(key)
            while len(self._datasets) > OPEN_TABLES:
                self._datasets.popitem(last=False)


def _open(uri: str, version: int | None) -> "Dataset | None":
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        return DeltaTable(uri, version=version).to_pyarrow_dataset()
    except TableNotFoundError:
        return None
    except (DeltaError, OSError) as error:
        raise LakeUnavailable(f"{uri}: {error}") from error


def equals(column: str, value: pa.Scalar | str | None) -> pc.Expression:
    """`column = value`, where None means null."""
    return pc.field(column).is_null() if value is None else pc.field(column) == value
