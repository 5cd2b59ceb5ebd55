"""Logs: one JSON object a line, on stderr only."""

import json
from pathlib import Path

import pytest
import structlog

from conf.settings import Settings
from runtime.logs import configure_logging


def test_an_event_is_one_json_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(Settings(env="test", home=tmp_path, log_level="info"))
    log = structlog.get_logger()
    log.info("sealed", metric="device_access")
    log.debug("not asked for")
    out, err = capsys.readouterr()
    assert out == ""
    line = json.loads(err)
    assert (line["event"], line["metric"], line["level"]) == ("sealed", "device_access", "info")
    assert line["at"].endswith("Z")
