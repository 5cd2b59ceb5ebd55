"""`tidemark simulate`: the same arguments, the same bytes; the ledger is what must be counted."""

import json
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from cli.main import main
from conf.settings import load_settings
from intake.segments import FileSource

pytestmark = pytest.mark.usefixtures("home")
FAULTY = ["--late", "0.1", "--duplicates", "0.1", "--invalid", "0.1", "--anomalies"]
SIZE = ["--rate", "100", "--seconds", "30", "--seed", "5", "--start", "2026-01-01T00:00:00Z"]


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        files = ["--to", str(tmp_path / f"{name}.gz"), "--ledger", str(tmp_path / f"{name}.ledger")]
        assert main(["simulate", "clickstream", *SIZE, *FAULTY, *files]) == 0
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.ledger").read_bytes() == (tmp_path / "b.ledger").read_bytes()


def test_anomalies_are_asked_for_without_a_value(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "records"
    assert main(["simulate", "access", *SIZE, "--anomalies", "--to", str(target), "--json"]) == 0
    kinds = json.loads(capsys.readouterr().out)["kinds"]
    assert 0 < kinds["anomaly"] < 100, "a hundredth of 3,000"
    assert kinds["event"] == 3000 - kinds["anomaly"]
    assert len(target.read_bytes().splitlines()) == 3000


def test_records_go_to_the_source_and_the_ledger_to_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "ledger"
    assert main(["simulate", "access", *SIZE, *FAULTY, "--ledger", str(ledger), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    stored = Counter(record.value for record in FileSource(load_settings().home / "source/access").iter_records())
    booked = ledger.read_bytes().splitlines()
    assert said["records"] == 3000 == stored.total()
    assert said["ledger"] == len(booked) == len(set(booked))
    assert set(booked) <= set(stored)
    assert said["kinds"]["invalid"] + said["kinds"]["duplicate"] + len(booked) == 3000
    assert sum(stored[event] - 1 for event in booked) == said["kinds"]["duplicate"]


def test_records_go_to_the_api(capsys: pytest.CaptureFixture[str]) -> None:
    posted: list[bytes] = []

    class Api(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/events/orders"
            posted.extend(body.splitlines())
            self.send_response(202)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Silent."""

    with HTTPServer(("127.0.0.1", 0), Api) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert main(["simulate", "orders", *SIZE, "--to", "http", "--url", url]) == 0
        server.shutdown()
    assert len(posted) == 3000
    assert "3000 records sent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shop", *SIZE], "unknown pack 'shop'"),
        (["access", *SIZE, "--late", "1.5"], "--late: 1.5 is not a share"),
        (["access", *SIZE, "--late", "0.6", "--invalid", "0.6"], "together exceed 1"),
        (["access", *SIZE, "--start", "yesterday"], "--start: 'yesterday'"),
        (["access", *SIZE, "--rate", "0"], "--rate"),
        (["access", *SIZE, "--keys", "0"], "--keys"),
        (["access", *SIZE, "--to", "nowhere/file"], "nowhere/file: cannot write"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", *arguments]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_an_api_that_is_away_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "access", *SIZE, "--to", "http", "--url", "http://127.0.0.1:9"]) == 1
    assert "http://127.0.0.1:9: cannot send" in capsys.readouterr().err
