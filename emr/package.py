"""What a cluster needs of this project: the code, the dependency archive and the scripts it starts.

The code is built as a wheel and shipped under a name ending in `.zip`: it is the same file, but Spark puts only
`.zip`, `.egg` and `.py` of `--py-files` on the path of its Python workers.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from emr.environment import pack_environment
from tidemark.errors import Fault, UserError

CODE = "tidemark.zip"
ENVIRONMENT = "environment.tar.gz"
SCRIPTS = {"nightly": "nightly.py", "maintain": "maintain.py"}
"""Job → the script of `spark_jobs/` that runs it."""
PROJECT = Path(__file__).resolve().parent.parent
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")
_BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@dataclass(frozen=True, slots=True)
class Package:
    """The files to put beside each other where the cluster reads them."""

    folder: Path
    wheel: Path
    distributions: dict[str, str]

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self.folder / name for name in (CODE, ENVIRONMENT, *SCRIPTS.values()))


def build_package(folder: Path, interpreter: str | None = None, project: Path = PROJECT) -> Package:
    """Build into `folder` what a cluster needs. `interpreter`: the cluster's Python, of this one's minor version."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = build_wheel(folder, project)
    shutil.copyfile(wheel, folder / CODE)
    for script in SCRIPTS.values():
        shutil.copyfile(project / "spark_jobs" / script, folder / script)
    python = interpreter or f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    return Package(folder, wheel, pack_environment(requirements_of(wheel), folder / ENVIRONMENT, python))


def build_wheel(folder: Path, project: Path = PROJECT) -> Path:
    """The project's wheel in `folder`, built from a copy of its sources: the checkout stays as it was. No network."""
    if not (project / "pyproject.toml").is_file():
        raise UserError("emr package: needs the project's sources (pyproject.toml); run it in a checkout")
    with tempfile.TemporaryDirectory(prefix="tidemark-wheel-") as work:
        copy = Path(work) / "project"
        copy.mkdir()
        for entry in sorted(project.iterdir()):
            if entry.is_dir() and (entry / "__init__.py").is_file():
                shutil.copytree(entry, copy / entry.name, ignore=_LEFT_OUT)
            elif entry.name in ("pyproject.toml", "setup.py", "README.md"):
                shutil.copyfile(entry, copy / entry.name)
        command = [sys.executable, "-c", _BUILD, str(folder.resolve())]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise Fault(f"cannot build the wheel: {lines[-1]}")
    return folder / done.stdout.strip().splitlines()[-1]


def requirements_of(wheel: Path) -> list[str]:
    """`Requires-Dist` of a wheel: the project's dependencies with those of its extras behind markers."""
    with ZipFile(wheel) as files:
        metadata = next(name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(files.read(metadata).decode()).get_all("Requires-Dist", [])


def upload_package(package: Package, s3: Any, bucket: str, prefix: str) -> list[str]:
    """Put the files under `s3://bucket/prefix/`; their URIs. `s3` is a boto3 client."""
    keys = [(file, f"{prefix.strip('/')}/{file.name}".lstrip("/")) for file in package.files]
    for file, key in keys:
        s3.upload_file(str(file), bucket, key)
    return [f"s3://{bucket}/{key}" for _, key in keys]
