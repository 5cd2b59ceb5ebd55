"""Sends records to the API as newline-delimited JSON, over one kept connection."""

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tidemark.errors import Fault, UserError

BATCH_RECORDS = 500
BATCH_BYTES = 512 * 1024
_TIMEOUT_S = 30.0


@dataclass(slots=True)
class HttpTarget:
    """`POST {url}/v1/events/{contract}`. Broken records are the API's to refuse one by one: a 4xx that lists results
    per record is an answer, anything else is a Fault."""

    url: str
    contract: str
    _connection: http.client.HTTPConnection | None = None

    def send(self, records: list[bytes]) -> None:
        batch: list[bytes] = []
        size_bytes = 0
        for record in records:
            if batch and (len(batch) >= BATCH_RECORDS or size_bytes + len(record) > BATCH_BYTES):
                self._post(batch)
                batch, size_bytes = [], 0
            batch.append(record)
            size_bytes += len(record)
        if batch:
            self._post(batch)

    def _post(self, records: list[bytes]) -> None:
        connection = self._connect()
        try:
            headers = {"Content-Type": "application/x-ndjson"}
            connection.request("POST", f"/v1/events/{self.contract}", b"\n".join(records) + b"\n", headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._connection = None
            raise Fault(f"{self.url}: cannot send: {error or type(error).__name__}") from error
        if response.status not in (200, 202, 207) and not _per_record(body):
            raise Fault(f"{self.url}: the API answered {response.status}: {_title(body)}")

    def _connect(self) -> http.client.HTTPConnection:
        if self._connection is None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise UserError(f"--url: {self.url!r} is not an http address")
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)
        return self._connection


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _per_record(body: bytes) -> bool:
    return isinstance(_document(body).get("results"), list)


def _title(body: bytes) -> str:
    document = _document(body)
    return str(document.get("detail") or document.get("title") or "no reason given")[:200]
