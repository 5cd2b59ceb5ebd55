"""What every job has in common."""

import subprocess
import sys
from pathlib import Path

import pytest

_GIVEN = """
import sys
from pathlib import Path
from conf.settings import Settings
from spark_jobs.script import spark_source
spark = spark_source("test", Settings(env="test", home=Path(sys.argv[1])))()
java = spark.sparkContext._jvm.java
print(*(each.getName() for each in java.lang.management.ManagementFactory.getGarbageCollectorMXBeans()))
"""


@pytest.mark.spark
def test_a_job_in_its_own_jvm_collects_garbage_for_throughput(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _GIVEN, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["PS", "MarkSweep", "PS", "Scavenge"]
