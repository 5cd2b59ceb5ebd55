"""The state store of the speed views: a class of Java of ours, compiled at set-up against the Spark that is installed.

`python -m runtime.state_store` brings a compiler that needs no more than a Java runtime (Eclipse's) and writes the
archive beside Spark's own; what the class does, and for which queries, it says itself. Streams work without it, with
Spark's own store on the same checkpoints, slower by a look at all of their state in each micro-batch.
"""

import hashlib
import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

from runtime.built_file import building
from runtime.jars import jars_folder, java_binary, locked, resolve, spark_own_jars
from tidemark.errors import Fault

PROVIDER = "io.tidemark.AmortizedEvictionProvider"
_SOURCES = Path(__file__).parent / "java"
_RELEASE = "17"
_TIMEOUT_S = 300


def state_store_jar() -> Path:
    """Where the archive of this source is, or would be."""
    identity = version("pyspark").encode() + b"".join(file.read_bytes() for file in _sources())
    digest = hashlib.sha256(identity).hexdigest()[:12]
    return jars_folder("spark").with_name(f"state-store-{digest}.jar")


def state_store_conf() -> dict[str, str]:
    """What a stream's own session needs for it; empty where it was not compiled."""
    return {"spark.sql.streaming.stateStore.providerClass": PROVIDER} if state_store_jar().is_file() else {}


def compile_state_store() -> Path:
    """Write the archive and remove those of other versions; does nothing when it is there. Raises Fault."""
    archive = state_store_jar()
    if archive.is_file():
        return archive
    resolve("compiler")
    with building(archive, "state-store-*.jar") as work:
        classes = work / "classes"
        _compile(classes)
        with zipfile.ZipFile(work / archive.name, "w") as packed:
            for file in sorted(classes.rglob("*.class")):
                packed.write(file, file.relative_to(classes))
    return archive


def _compile(classes: Path) -> None:
    compiler = jars_folder("compiler") / locked("compiler")[0].file
    spark = os.pathsep.join(str(file) for file in sorted(spark_own_jars().glob("*.jar")))
    command = [java_binary(), "-jar", str(compiler), f"-{_RELEASE}", "-nowarn", "-cp", spark, "-d", str(classes)]
    try:
        done = subprocess.run(
            [*command, *map(str, _sources())], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise Fault("java is missing") from None
    except subprocess.TimeoutExpired:
        raise Fault(f"its compiler did not end within {_TIMEOUT_S} s") from None
    if done.returncode:
        problems = [" ".join(line.split()) for line in done.stderr.splitlines() if line.strip(" -^")]
        raise Fault(f"it does not fit the Spark that is installed: {' '.join(problems)[:300]}")


def _sources() -> list[Path]:
    return sorted(_SOURCES.rglob("*.java"))


def main() -> int:
    """Compile. Streams work without, so what cannot be compiled is told of, not a failure."""
    try:
        compile_state_store()
    except Fault as fault:
        print(f"no state store of our own, streams of many ids are slower: {fault}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
