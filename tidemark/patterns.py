"""The regular expressions that a contract may use: those that Java (in Spark) and Python read in the same way.

A pattern always has to match the whole text; `^` and `$` are allowed at its ends and change nothing. `.` matches every
character, also a line end. `\\d`, `\\w`, `\\s` are ASCII. What is left out differs between the two languages, or can
overflow Java's stack on a long text: back-references, look-around, flags, possessive and lazy quantifiers, set
operations in a class, unbounded repetition of a group.
"""

import re

from tidemark.errors import ContractError

MAX_TEXT = 4096
"""A longer text (in code points) never matches, so that no pattern is run over a megabyte."""
MAX_GROUP_REPEAT = 100

_ESCAPES = r"\\(?:[dDwWsSnrt]|[^A-Za-z0-9\s])"
_ESCAPE = re.compile(_ESCAPES, re.ASCII)
_CLASS_ITEM = rf"(?:{_ESCAPES}|[^\[\]\\&~|^-])"
_CLASS = re.compile(rf"\[\^?-?{_CLASS_ITEM}(?:-{_CLASS_ITEM}|{_CLASS_ITEM})*-?\]", re.ASCII)
_CLASS_RANGE = re.compile(r"\\[dDwWsS]-[^\]]|-\\[dDwWsS]", re.ASCII)
_QUANTIFIER = re.compile(r"[*+?]|\{\d{1,4}(?:,\d{0,4})?\}", re.ASCII)
_LITERAL = re.compile(r"[^\\\[\](){}*+?|^$]")


def common_pattern(text: str, what: str) -> str:
    """The pattern without its anchors, good for `re.fullmatch` (ASCII | DOTALL) and for Java's `\\A(?s:…)\\z`.

    Raises ContractError, naming `what` and the position, for anything outside the common subset.
    """
    body = text.removeprefix("^")
    if body.endswith("$") and (len(body) - len(body[:-1].rstrip("\\"))) % 2 == 1:
        body = body[:-1]
    _walk(body, what, offset=len(text) - len(text.removeprefix("^")))
    try:
        re.compile(body, re.ASCII | re.DOTALL)
    except re.error as error:
        raise ContractError(f"{what}: {error}") from None
    return body


def compiled(body: str) -> re.Pattern[str]:
    """The Python form of a pattern that `common_pattern` gave; use `.fullmatch`."""
    return re.compile(body, re.ASCII | re.DOTALL)


def java_pattern(body: str) -> str:
    """The Java form of a pattern that `common_pattern` gave; `rlike` finds, so the ends are pinned."""
    return rf"\A(?s:{body})\z"


def _walk(body: str, what: str, offset: int) -> None:
    position, repeatable, group_end, depth = 0, False, False, 0
    while position < len(body):
        quantifier = _QUANTIFIER.match(body, position)
        if quantifier and repeatable:
            if group_end:
                _refuse_long_repeat(quantifier[0], what, position + offset)
            position, repeatable, group_end = quantifier.end(), False, False
            continue
        end, repeatable, group_end = _atom(body, position)
        depth += (body[position] == "(") - (body[position] == ")")
        if end is None or depth < 0:
            raise ContractError(f"{what}: {body[position:]!r} at position {position + offset} is not supported")
        position = end


def _atom(body: str, position: int) -> tuple[int | None, bool, bool]:
    """End of the atom at `position` (None: refused), whether it can be repeated, whether it ends a group."""
    character = body[position]
    if character == "(":
        capture = body.startswith("(?", position)
        return (position + 3 if body.startswith("(?:", position) else None if capture else position + 1), False, False
    if character in ")|":
        return position + 1, character == ")", character == ")"
    for kind in (_CLASS, _ESCAPE, _LITERAL):
        found = kind.match(body, position)
        if found and not (kind is _CLASS and _CLASS_RANGE.search(found[0])):
            return found.end(), True, False
    return None, False, False


def _refuse_long_repeat(quantifier: str, what: str, position: int) -> None:
    most = 1 if quantifier == "?" else quantifier.strip("{}").rpartition(",")[2]
    if most in ("", "*", "+") or int(most) > MAX_GROUP_REPEAT:
        raise ContractError(
            f"{what}: a group may be repeated at most {MAX_GROUP_REPEAT} times, {quantifier!r} at position {position}"
        )
