"""The key of one group: its dimension values as netstrings over UTF-8 bytes.

`5:dev-1` is the text `dev-1`, `-` is NULL; values follow each other, so no separator can occur in data that the key
could be confused by (D. J. Bernstein, Netstrings, 1997). A metric without dimensions has the empty key.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from tidemark.errors import QueryError, UserError
from tidemark.metrics.model import Dim, Metric
from tidemark.windows import iso_micros, parse_instant, to_micros

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")


def dim_text_sql(dim: Dim) -> str:
    """Spark SQL of a dimension's canonical text: what the key holds."""
    if dim.type == "string":
        return dim.sql
    if dim.type == "timestamp":
        return f"CAST(unix_micros({dim.sql}) AS STRING)"
    return f"CAST({dim.sql} AS STRING)"


def dims_key_sql(dims: Iterable[Dim]) -> str:
    """Spark SQL that builds the dims key of an event, or of a group whose columns are the dims."""
    texts = [dim_text_sql(dim) for dim in dims]
    parts = [f"coalesce(concat(octet_length({t}), ':', {t}), '-')" for t in texts]
    return f"concat({', '.join(parts)})" if parts else "''"


def encode_dims(texts: Sequence[str | None]) -> bytes:
    """Canonical texts → key."""
    encoded = (None if text is None else text.encode() for text in texts)
    return b"".join(b"-" if raw is None else b"%d:%s" % (len(raw), raw) for raw in encoded)


@lru_cache(maxsize=32_768)
def decode_texts(key: bytes) -> tuple[str | None, ...]:
    """Key → canonical texts. The same keys come with every window."""
    texts: list[str | None] = []
    at = 0
    while at < len(key):
        if key[at : at + 1] == b"-":
            texts.append(None)
            at += 1
            continue
        colon = key.index(b":", at)
        end = colon + 1 + int(key[at:colon])
        texts.append(key[colon + 1 : end].decode())
        at = end
    return tuple(texts)


def typed_value(dim: Dim, text: str | None) -> Any:
    """Canonical text → the JSON value of an answer."""
    if text is None or dim.type == "string":
        return text
    if dim.type == "long":
        return int(text)
    if dim.type == "boolean":
        return text == "true"
    return iso_micros(int(text))


def decode_dims(metric: Metric, key: bytes) -> dict[str, Any]:
    """Key → dimension name → JSON value."""
    return {dim.name: typed_value(dim, text) for dim, text in zip(metric.dims, decode_texts(key), strict=True)}


def canonical_text(dim: Dim, text: str) -> str:
    """What a user wrote for a dimension → its canonical text. QueryError names the parameter."""
    if dim.type == "long":
        if not _WHOLE.fullmatch(text):
            raise QueryError("dim", f"{dim.name} is a whole number, not {text[:40]!r}")
        if not -(2**63) <= int(text) < 2**63:
            raise QueryError("dim", f"{dim.name} is a whole number of 64 bits, not {text!r}")
        return str(int(text))
    if dim.type == "boolean":
        if text not in ("true", "false"):
            raise QueryError("dim", f"{dim.name} is true or false, not {text!r}")
    elif dim.type == "timestamp":
        try:
            return str(to_micros(parse_instant(text, dim.name)))
        except UserError as error:
            raise QueryError("dim", str(error)) from None
    return text
