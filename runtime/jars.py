"""The Java archives: resolved once into a folder of the project, loaded from there, so that sessions start offline.

`python -m runtime.jars [spark] [kafka] [compiler]` brings what a lock file beside this module names and is not there
yet, through the Ivy that Spark ships. The lists are exact and checksummed: nothing transitive is decided at set-up.
`spark` is what a local session needs (a cluster ships its own), `kafka` the broker of the tests, `compiler` that of
the state store.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tidemark.errors import Fault

KINDS = ("spark", "kafka", "compiler")
CLASSPATH_ARTIFACTS = frozenset({"hadoop-bare-naked-local-fs"})
"""Loaded by the driver's own class path: Hadoop looks for file systems before Spark has added its jars."""
_TIMEOUT_S = 900


@dataclass(frozen=True, slots=True)
class Artifact:
    """One line of a lock file: `group:name:version sha256:digest`."""

    group: str
    name: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        return f"{self.group}_{self.name}-{self.version}.jar"


def jars_folder(kind: str) -> Path:
    """Where the archives of a kind are: `.jars/` of the checkout, else `share/tidemark/jars` of the environment."""
    project = Path(__file__).resolve().parent.parent
    root = project / ".jars" if (project / "pyproject.toml").is_file() else Path(sys.prefix) / "share/tidemark/jars"
    return root / kind


def locked(kind: str) -> tuple[Artifact, ...]:
    """The artefacts of a kind, in the order of its lock file."""
    return read_lock(Path(__file__).parent / f"{kind}.jars.lock")


def read_lock(file: Path) -> tuple[Artifact, ...]:
    """The artefacts of a lock file, in its order."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return tuple(_artifact(line) for line in lines if line and not line.startswith("#"))


def missing(kind: str) -> tuple[Artifact, ...]:
    """The artefacts of a kind that are not in their folder."""
    return _absent(locked(kind), jars_folder(kind))


def spark_jars() -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """(for `spark.jars`, for the driver's class path). Raises Fault when some are not there."""
    absent = missing("spark")
    if absent:
        raise Fault(f"{absent[0].file} is missing in {jars_folder('spark')}: run python -m runtime.jars")
    files = {artifact: jars_folder("spark") / artifact.file for artifact in locked("spark")}
    on_classpath = tuple(file for artifact, file in files.items() if artifact.name in CLASSPATH_ARTIFACTS)
    return tuple(file for file in files.values() if file not in on_classpath), on_classpath


def resolve(kind: str) -> int:
    """Bring what is missing of a kind; the number of files brought. Without network a no-op when all is there."""
    return bring(locked(kind), jars_folder(kind))


def bring(artifacts: Sequence[Artifact], folder: Path) -> int:
    """Bring those that a folder lacks; the number of files brought. Raises Fault, and then brought none."""
    wanted = _absent(artifacts, folder)
    if not wanted:
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".resolve-", dir=folder.parent) as work:
        _retrieve(wanted, Path(work))
        for artifact in wanted:
            _check(artifact, Path(work) / artifact.file)
            os.replace(Path(work) / artifact.file, folder / artifact.file)
    return len(wanted)


def spark_own_jars() -> Path:
    """The folder of the archives that pyspark ships. Raises Fault without pyspark."""
    pyspark = find_spec("pyspark")
    if pyspark is None or pyspark.origin is None:
        raise Fault("pyspark is not installed here: run `make setup`, or pip install 'tidemark[spark]'")
    return Path(pyspark.origin).parent / "jars"


def java_binary() -> str:
    """The `java` that Spark will run: of JAVA_HOME, else of PATH."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"


def _absent(artifacts: Sequence[Artifact], folder: Path) -> tuple[Artifact, ...]:
    return tuple(artifact for artifact in artifacts if not (folder / artifact.file).is_file())


def _artifact(line: str) -> Artifact:
    coordinates, _, digest = line.partition(" sha256:")
    group, name, version = coordinates.split(":")
    return Artifact(group, name, version, digest.strip())


def _retrieve(wanted: Sequence[Artifact], work: Path) -> None:
    module = work / "ivy.xml"
    module.write_text(_ivy_module(wanted), encoding="utf-8")
    command = [
        *(java_binary(), f"-Divy.default.ivy.user.dir={work / 'ivy'}", "-jar", str(_ivy_jar())),
        *("-ivy", str(module), "-cache", str(work / "ivy"), "-confs", "default", "-warn"),
        *("-retrieve", str(work / "[organisation]_[artifact]-[revision].[ext]")),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise Fault("java is missing: install Java 17 or newer (as apt-get install openjdk-17-jre-headless)") from None
    except subprocess.TimeoutExpired:
        raise Fault(f"the Java archives did not arrive within {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise Fault(f"cannot resolve the Java archives: {_reason(done.stdout + done.stderr)}")


def _ivy_module(wanted: Sequence[Artifact]) -> str:
    lines = "".join(
        f'<dependency org="{each.group}" name="{each.name}" rev="{each.version}"'
        ' conf="default->master" transitive="false"/>'
        for each in wanted
    )
    return (
        '<ivy-module version="2.0"><info organisation="tidemark" module="jars"/>'
        f'<configurations><conf name="default"/></configurations><dependencies>{lines}</dependencies></ivy-module>'
    )


def _ivy_jar() -> Path:
    return sorted(spark_own_jars().glob("ivy-*.jar"))[-1]


def _reason(output: str) -> str:
    """The first line of Ivy's that says what is wrong."""
    telling = ("UnknownHost", "Connection", "refused", "timed out", "not found", "Exception", "ERROR")
    lines = [" ".join(line.split()).strip(": ") for line in output.splitlines()]
    return next((line for word in telling for line in lines if word in line), "no network?")[:300]


def _check(artifact: Artifact, file: Path) -> None:
    if not file.is_file():
        raise Fault(f"cannot resolve the Java archives: {artifact.file} did not arrive")
    if hashlib.sha256(file.read_bytes()).hexdigest() != artifact.sha256:
        raise Fault(f"{artifact.file} is not the file that {artifact.name} {artifact.version} was locked with")


def main(kinds: list[str]) -> int:
    """Bring the kinds named (default: spark); progress on stderr."""
    for kind in kinds or ["spark"]:
        if kind not in KINDS:
            print(f"{kind}: none of {', '.join(KINDS)}", file=sys.stderr)
            return 2
        try:
            brought = resolve(kind)
        except Fault as fault:
            print(fault, file=sys.stderr)
            return 1
        if brought:
            print(f"{brought} Java archives for {kind} in {jars_folder(kind)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
