"""The dependency archive: a relocatable virtual environment with what the jobs import and the platform does not bring.

It is filled with the very distributions of the environment that packs it, the ones that the tests ran with: no index is
asked and nothing is resolved again. The price is that the cluster must have the same Python minor version, operating
system and machine; the manifest inside says which.

pyspark, py4j and Delta are the platform's. A second copy in front of them breaks the job in ways that do not name the
cause, which is why they are left out even though they are installed here.
"""

import io
import json
import platform
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator
from gzip import GzipFile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement

from tidemark.errors import Fault

PLATFORM = frozenset({"pyspark", "py4j", "delta-spark"})
"""What EMR ships itself."""
NOT_FOR_JOBS = frozenset({"fastapi", "granian", "prometheus-client"})
"""What only the API imports."""
MANIFEST = "tidemark-environment.json"
_WITH_TESTS = frozenset({"numpy", "pandas", "pyarrow", "scipy"})
"""Packages whose tests are a third of their size."""
_SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
_COMPRESSION = 1
"""Of gzip: level 6 is four times slower here and saves a seventh."""


def pack_environment(requirements: Iterable[str], archive: Path, interpreter: str) -> dict[str, str]:
    """Write the archive (`.tar.gz`); name → version of what is in it. `interpreter` is a path on the cluster.

    The same distributions give the same bytes: no times, owners or paths of this machine get in.
    """
    chosen = runtime_distributions(requirements)
    versions = {name: found.version for name, found in sorted(chosen.items())}
    with (
        archive.open("wb") as raw,
        GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_COMPRESSION, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        _add_interpreter(tar, interpreter)
        _add_text(tar, MANIFEST, json.dumps(_manifest(versions), indent=2, sort_keys=True))
        for name in versions:
            for source, target in _files(name, chosen[name]):
                tar.add(source, f"{_SITE}/{target}", recursive=False, filter=_anonymous)
    return versions


def runtime_distributions(requirements: Iterable[str]) -> dict[str, Distribution]:
    """The installed distributions that `requirements` need, with theirs, without the platform's. Name → distribution.

    Raises Fault for one that is not installed here.
    """
    found: dict[str, Distribution] = {}
    extras: dict[str, set[str]] = {}
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = _normal(wanted.name)
        if name in PLATFORM | NOT_FOR_JOBS or not _applies(wanted, set()):
            continue
        if name in found and wanted.extras <= extras[name]:
            continue
        found[name] = found.get(name) or _installed(wanted.name)
        extras.setdefault(name, set()).update(wanted.extras)
        nested = (Requirement(text) for text in found[name].requires or ())
        waiting += [_unmarked(each) for each in nested if _applies(each, extras[name])]
    return found


def _installed(name: str) -> Distribution:
    try:
        return distribution(name)
    except PackageNotFoundError:
        raise Fault(f"cannot pack the environment: {name} is not installed here (`make setup` installs it)") from None


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    if requirement.marker is None:
        return True
    return any(requirement.marker.evaluate({"extra": extra}) for extra in extras | {""})


def _unmarked(requirement: Requirement) -> Requirement:
    """`requirement` after its marker was found true: the marker may ask for an extra of its parent."""
    requirement.marker = None
    return requirement


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _files(name: str, found: Distribution) -> Iterator[tuple[str, PurePosixPath]]:
    """(file here, path below site-packages) of a distribution; commands, byte code and tests are left out."""
    for entry in sorted(found.files or (), key=str):
        path = PurePosixPath(entry)
        skipped = ".." in path.parts or path.suffix == ".pyc" or (name in _WITH_TESTS and "tests" in path.parts)
        source = Path(str(found.locate_file(entry)))
        if not skipped and not path.is_absolute() and source.is_file():
            yield str(source), path


def _manifest(versions: dict[str, str]) -> dict[str, object]:
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "system": platform.system(),
        "machine": platform.machine(),
        "distributions": versions,
    }


def _add_interpreter(tar: tarfile.TarFile, interpreter: str) -> None:
    home = PurePosixPath(interpreter).parent
    _add_text(tar, "pyvenv.cfg", f"home = {home}\ninclude-system-site-packages = false\n")
    for name in ("python", "python3"):
        link = tarfile.TarInfo(f"bin/{name}")
        link.type, link.linkname = tarfile.SYMTYPE, interpreter
        tar.addfile(link)


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(text.encode())
    tar.addfile(entry, io.BytesIO(text.encode()))


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry
