"""What a client may post: one JSON object, a JSON array, or newline-delimited JSON → the raw bytes of each record.

A record keeps the bytes it was sent with (an array is cut, not re-written), so that bronze holds what arrived and the
stream judges the same text as the API: a number that Python would round stays as it was.
"""

import json
import re

from serving.problems import Problem

BODY_LIMIT_BYTES = 8 * 1024 * 1024
"""Larger bodies are refused before they are read to the end."""
RECORDS_LIMIT = 50_000
"""Records in one body; more belongs into `tidemark ingest` or several requests."""

_NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines")
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def split_records(body: bytes, content_type: str) -> list[bytes]:
    """Raw records of a body. Raises Problem 400 when it cannot be cut into records, 413 when there are too many.

    Lines are cut when the content type says so, or when several lines are not one JSON document together. A line that
    is no JSON is still a record: it goes to quarantine with its neighbours counted.
    """
    if content_type.split(";")[0].strip().lower() in _NDJSON:
        records = _lines(body)
    else:
        records = _json_records(body)
    if not records:
        raise Problem(400, "unreadable-body", "the body holds no record")
    if len(records) > RECORDS_LIMIT:
        raise Problem(413, "body-too-large", f"at most {RECORDS_LIMIT} records in one body")
    return records


def _lines(body: bytes) -> list[bytes]:
    return [line for line in (raw.strip(b" \t\r") for raw in body.split(b"\n")) if line]


def _json_records(body: bytes) -> list[bytes]:
    try:
        text = body.decode("utf-8").strip(" \t\r\n\ufeff")
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return _refuse()
    if end != len(text):
        one_line = "\n" not in text[:end] and text[end:].lstrip(" \t\r").startswith("\n")
        return _lines(body) if one_line else _refuse()
    if isinstance(value, dict):
        return [text.encode()]
    if isinstance(value, list):
        return _elements(text)
    return _refuse()


def _refuse() -> list[bytes]:
    detail = "the body is neither a JSON object, a JSON array nor newline-delimited JSON"
    raise Problem(400, "unreadable-body", detail)


def _elements(array: str) -> list[bytes]:
    """Cut the text of a valid JSON array into the texts of its elements."""
    records: list[bytes] = []
    position = _skip_space(array, 1)
    while array[position] != "]":
        _, end = _DECODER.raw_decode(array, position)
        records.append(array[position:end].encode("utf-8"))
        position = _skip_space(array, end)
        if array[position] == ",":
            position = _skip_space(array, position + 1)
    return records


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
