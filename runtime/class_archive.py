"""The class archive of a local session's JVM: the classes of Spark that each start needs, read and verified once.

`python -m runtime.class_archive` runs a small session that does what the product's sessions do and has the JVM write
down what it loaded (application class-data sharing, JEP 350); `build_session` then names the file. The JVM itself
checks that its version and its class path are those of the archive and does without where they are not, so a file that
is out of date costs time and nothing else. Its name changes with Java and with the locked jars, so that set-up writes
it anew when it must.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.built_file import building
from runtime.jars import jars_folder, java_binary, locked
from runtime.state_store import state_store_jar
from tidemark.errors import Fault

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_TIMEOUT_S = 600


def archive_options() -> str:
    """The options of a JVM that reads the archive, silent where it does not fit; empty where there is none."""
    file = archive_file()
    return f'"-XX:SharedArchiveFile={file}" -Xlog:cds=off -Xlog:cds+dynamic=off' if file and file.is_file() else ""


def archive_file() -> Path | None:
    """Where the archive for this Java and these jars is, or would be; None without Java."""
    java = shutil.which(java_binary())
    if java is None:
        return None
    binary = Path(java).resolve()
    state = binary.stat()
    own = f"{locked('spark')} {state_store_jar().name} {sys.prefix}"
    identity = f"{binary} {state.st_mtime_ns} {state.st_size} {own}"
    folder = jars_folder("spark")
    return folder.with_name(f"{folder.name}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}.jsa")


def write_archive() -> Path:
    """Write the archive and remove those of other versions; does nothing when it is there. Raises Fault."""
    file = archive_file()
    if file is None:
        raise Fault("java is missing")
    if file.is_file():
        return file
    with building(file, "spark-*.jsa") as work:
        _run_training(work, work / file.name)
        _try_out(work / file.name)
    return file


def train(home: Path) -> None:
    """What sessions of the product do, in small: Delta written, merged, read; a stream with a window and state."""
    from conf.settings import Settings
    from runtime.spark_session import build_session

    session = build_session("tidemark-class-archive", Settings(env="test", home=home))
    try:
        _batch(session, f"{home}/table")
        _stream(session, f"{home}/table", f"{home}/checkpoint")
    finally:
        gateway = session.sparkContext._gateway
        session.stop()
        gateway.shutdown()  # type: ignore[union-attr]
        gateway.proc.stdin.close()  # type: ignore[union-attr]
        gateway.proc.wait(_TIMEOUT_S)  # type: ignore[union-attr]  # the archive is written as the JVM ends


def _batch(session: "SparkSession", table: str) -> None:
    rows = "select id % 7 as device, timestamp_seconds(id * 60) as event_time, cast(id as double) as value"
    session.range(2000).createOrReplaceTempView("ids")
    session.sql(f"{rows} from ids").write.format("delta").partitionBy("device").save(table)
    session.sql(
        f"merge into delta.`{table}` t using ({rows} from ids limit 10) s on t.value = s.value and t.device = s.device"
        " when matched then update set * when not matched then insert *"
    )
    session.sql(
        "select device, window(event_time, '10 minutes') as w, count(*), sum(value), approx_count_distinct(value)"
        f" from delta.`{table}` group by device, window(event_time, '10 minutes') order by device"
    ).toPandas()


def _stream(session: "SparkSession", table: str, checkpoint: str) -> None:
    from pyspark.sql import DataFrame
    from pyspark.sql import functions as F

    def keep(batch: DataFrame, _number: int) -> None:
        batch.toArrow()
        batch.selectExpr("w.start as event_time", "n as value").write.format("delta").mode("append").save(
            table + "_views"
        )

    events = session.readStream.format("delta").load(table).withColumn("text", F.to_json(F.struct("*")))
    parsed = events.select(F.from_json("text", "device long, event_time timestamp, value double").alias("e")).select(
        "e.*"
    )
    counted = (
        parsed.withWatermark("event_time", "1 hour")
        .dropDuplicatesWithinWatermark(["value"])
        .groupBy(F.window("event_time", "10 minutes").alias("w"))
        .agg(F.count("*").alias("n"))
    )
    query = counted.writeStream.outputMode("append").option("checkpointLocation", checkpoint)
    query.foreachBatch(keep).trigger(availableNow=True).start().awaitTermination()


def _run_training(home: Path, archive: Path) -> None:
    """The training in a process of its own, with the JVM told to write the archive when it ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
    environment["SPARK_SUBMIT_OPTS"] = f"-XX:ArchiveClassesAtExit={archive}"
    command = [sys.executable, "-m", "runtime.class_archive", "train", str(home)]
    log = home / "log"
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                command, env=environment, stdout=output, stderr=output, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise Fault(f"its training did not end within {_TIMEOUT_S} s") from None
    if done.returncode != 0 or not archive.is_file():
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
        raise Fault(f"this Java wrote none{': ' + last[0] if last else ''}")


def _try_out(archive: Path) -> None:
    """A JVM does without an archive that does not fit, and crashes over one that was cut off, as by a full disk."""
    command = [java_binary(), f"-XX:SharedArchiveFile={archive}", "-version"]
    if subprocess.run(command, capture_output=True, cwd=archive.parent, timeout=_TIMEOUT_S, check=False).returncode:
        raise Fault("what this Java wrote cannot be read again")


def main(arguments: list[str]) -> int:
    """Write the archive. Sessions work without it, so a Java that cannot write one is told of, not a failure."""
    if arguments[:1] == ["train"]:
        train(Path(arguments[1]))
        return 0
    try:
        write_archive()
    except Fault as fault:
        print(f"no class archive, sessions start slower: {fault}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
