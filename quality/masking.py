"""Pseudonyms of personal fields: SHA-256 of key, a unit separator and the value, as lower-case hexadecimal.

The same in Spark and in Python, so that every layer sees the same masked value.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

SEPARATOR = "\x1f"


def pseudonym(key: str, value: str) -> str:
    """The masked form of one value."""
    return hashlib.sha256(f"{key}{SEPARATOR}{value}".encode()).hexdigest()


def pseudonym_column(key: str, value: "Column") -> "Column":
    """The masked form of a column; null stays null."""
    from pyspark.sql import functions as F

    return F.sha2(F.concat(F.lit(f"{key}{SEPARATOR}"), value), 256)
