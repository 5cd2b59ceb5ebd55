"""A library that Java cannot unpack ends the start with one line; that a later full disk does no harm: tests/faults."""

from unittest.mock import MagicMock

import pytest
from py4j.protocol import Py4JError

from streaming.native_libraries import LibraryNotLoaded, unpack_compression


def test_a_library_that_cannot_be_unpacked_is_told_with_the_reason() -> None:
    spark = MagicMock()
    snappy = spark._jvm.org.xerial.snappy.Snappy
    snappy.getNativeLibraryVersion.side_effect = Py4JError(
        "An error occurred\nCaused by: java.io.IOException: No space left on device\n\tat java.base/java.io"
    )
    with pytest.raises(LibraryNotLoaded) as told:
        unpack_compression(spark)
    line = "Java cannot load what compresses Parquet: the disk is full: java.io.IOException: No space left on device"
    assert str(told.value) == line
