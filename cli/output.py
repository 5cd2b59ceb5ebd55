"""What a command prints: its answer, and nothing else, on stdout. With `--json` that is exactly one JSON document."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson


def print_json(document: Any) -> None:
    """One JSON document on stdout, ended by a newline. NaN and infinities, which JSON lacks, become null."""
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    sys.stdout.write(text.decode() + "\n")
    sys.stdout.flush()


def print_table(rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Rows under aligned headings, for people; a missing or None value is left blank."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in ([column.replace("_", " ") for column in columns], *cells):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def note(line: str) -> None:
    """Progress or a remark, on stderr."""
    print(line, file=sys.stderr, flush=True)


def _cell(value: object) -> str:
    return "" if value is None else str(value)
