"""What a record is held to before its contract is looked at.

JSON readers differ at the edges; within these limits and patterns, Java's, Python's and DuckDB's read the same.
"""

MAX_RECORD_BYTES = 1 << 20
MAX_DEPTH = 100
"""Nesting of arrays and objects, the record itself included. Deeper is malformed."""
MAX_NUMBER_CHARS = 1_000
MAX_KEY_CHARS = 50_000
"""In UTF-16 units, as Java counts."""
FUTURE_S = 3600
"""An event time further than this after the arrival is refused, or it would drag the watermark along."""

INSTANT = (
    r"(?!000[01]|9999)[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
    r"(?:Z|[+-](?:0[0-9]|1[0-7])(?::?[0-5][0-9])?|[+-]18(?::?00)?)"
)
"""ISO 8601 with a zone. Java leaves out seconds that are zero, strftime the colon of a zone. Digits after the sixth of
a fraction are cut off."""
DECIMAL = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"
MAX_DECIMAL_DIGITS = 38

SURROGATE_PAIR = r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
SURROGATE = r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
FOREIGN_ESCAPE = r"\\u[0-9a-fA-F]{0,3}[^\x00-\x7f]"
"""Java reads some non-ASCII characters as hexadecimal digits."""
