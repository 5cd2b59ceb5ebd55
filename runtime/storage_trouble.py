"""A full or unwritable disk, in words, out of an error that carries pages of Java's stack traces."""

import re

_SIGNS = {
    "the disk is full": re.compile(r"No space left on device|File too large|Disk quota exceeded"),
    "the disk cannot be written": re.compile(r"Read-only file system|Permission denied"),
}
_CAUSE = re.compile(r"^Caused by: (.+)$", re.MULTILINE)
_LONGEST = 300


def storage_trouble(error: BaseException) -> str | None:
    """`the disk is full: <the line that says so>`; None for any other error."""
    for words, sign in _SIGNS.items():
        line = next((line.strip() for line in str(error).splitlines() if sign.search(line)), None)
        if line is not None:
            return f"{words}: {_without_frame(line)[:_LONGEST]}"
    return None


def root_cause(error: BaseException) -> str:
    """The line of an error that says most: the innermost Java cause, else the first line, else the error's type."""
    text = str(error).strip()
    causes: list[str] = _CAUSE.findall(text)
    line = causes[-1] if causes else f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    return line[: _LONGEST + 200]


def _without_frame(line: str) -> str:
    """`java.io.IOException: File too large` of `Caused by: java.io.IOException: File too large`."""
    return line.removeprefix("Caused by: ").removeprefix(": ")
