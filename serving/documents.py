"""Documents as JSON bytes."""

import json
from typing import Any

import orjson


def encode(document: Any) -> bytes:
    """JSON bytes. An integer beyond 64 bits (a long sum) is written in full, which the fast encoder refuses."""
    try:
        return orjson.dumps(document)
    except TypeError:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def encode_for_people(document: Any) -> str:
    """The same, indented."""
    return json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)
