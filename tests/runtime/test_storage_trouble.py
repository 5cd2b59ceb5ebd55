"""A full disk is told in words, whatever it is wrapped in."""

from runtime.storage_trouble import root_cause, storage_trouble

FULL = """An error occurred while calling o1.save.
: org.apache.spark.SparkException: Job aborted.
\tat org.apache.spark.Some.method(Some.scala:12)
Caused by: org.apache.spark.SparkException: Task failed.
\tat org.apache.spark.Other.method(Other.scala:1)
Caused by: java.io.IOException: No space left on device
\t... 12 more
"""


def test_a_full_disk_is_found_in_a_stack_trace() -> None:
    assert storage_trouble(RuntimeError(FULL)) == "the disk is full: java.io.IOException: No space left on device"


def test_a_disk_that_cannot_be_written_is_told_with_its_path() -> None:
    error = OSError("java.io.FileNotFoundException: /lake/x.parquet (Permission denied)")
    assert storage_trouble(error) == (
        "the disk cannot be written: java.io.FileNotFoundException: /lake/x.parquet (Permission denied)"
    )
    assert storage_trouble(OSError(30, "Read-only file system", "/lake")) == (
        "the disk cannot be written: [Errno 30] Read-only file system: '/lake'"
    )


def test_other_errors_are_none_of_its_business() -> None:
    assert storage_trouble(ValueError("went wrong")) is None
    assert storage_trouble(ValueError()) is None


def test_the_innermost_cause_says_most() -> None:
    assert root_cause(RuntimeError(FULL)) == "java.io.IOException: No space left on device"
    assert root_cause(ValueError("went wrong\nat length")) == "ValueError: went wrong"
    assert root_cause(ValueError()) == "ValueError"
