"""`tidemark serve` as a process of its own, beside the stream that a test breaks."""

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import httpx

from runtime.ports import free_port
from tests.faults.rig import Driver, Rig, wait_for


class Api:
    """Asked over HTTP; leaving the context stops it."""

    def __init__(self, rig: Rig) -> None:
        port = free_port()
        self.driver: Driver = rig.command("serve", "--port", str(port))
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10)
        wait_for(self._is_up, 60, self.driver.text)

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self.driver.stop()

    def get(self, path: str) -> httpx.Response:
        return self._http.get(path)

    def post_event(self, at_s: int, ledger: Path) -> int:
        """One valid event, put into the ledger when it was taken; the status."""
        event = {
            "event_id": uuid.uuid4().hex,
            "timestamp": datetime.fromtimestamp(at_s, UTC).isoformat(),
            "device_id": "posted",
            "user_id": "u",
            "access_count": 1,
        }
        status = self._http.post("/v1/events/access", json=event).status_code
        if status == 202:
            with ledger.open("a") as file:
                file.write(json.dumps(event) + "\n")
        return status

    def _is_up(self) -> bool:
        try:
            return self.get("/health/live").status_code == 200
        except httpx.TransportError:
            return False
