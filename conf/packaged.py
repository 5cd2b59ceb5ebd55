"""Where the files that ship with the package are, also when it runs from an archive.

`spark-submit --py-files tidemark.zip` puts the archive itself on Python's path: modules load from it, but a folder
inside it cannot be opened. Trap: without this, a job would find no `aws.yaml` and run with the defaults.
"""

import atexit
import shutil
import tempfile
from pathlib import Path
from zipfile import ZipFile


def packaged_folder(package: Path) -> Path:
    """`package` when it is a folder, else its files, unpacked once for the life of this process."""
    if package.is_dir():
        return package
    archive = next((parent for parent in package.parents if parent.is_file()), None)
    if archive is None:
        return package
    unpacked = Path(tempfile.mkdtemp(prefix="tidemark-conf-"))
    atexit.register(shutil.rmtree, unpacked, ignore_errors=True)
    prefix = f"{package.relative_to(archive).as_posix()}/"
    with ZipFile(archive) as files:
        files.extractall(unpacked, [name for name in files.namelist() if name.startswith(prefix)])
    return unpacked / prefix
