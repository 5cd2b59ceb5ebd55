"""A file that set-up builds, whose name says what it was built from: there as a whole, and those before it gone."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def building(file: Path, versions: str) -> Iterator[Path]:
    """A folder in which the block builds the file, under its name; then it takes its place in one step.

    `versions`: the pattern that it and its outdated versions match, which go. A block that raises changes nothing.
    """
    with tempfile.TemporaryDirectory(prefix=".building-", dir=file.parent) as work:
        yield Path(work)
        os.replace(Path(work) / file.name, file)
    for outdated in set(file.parent.glob(versions)) - {file}:
        outdated.unlink()
