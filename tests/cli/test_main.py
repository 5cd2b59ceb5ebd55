"""The command as a process sees it: exit codes, one line of error, nothing but the answer on stdout."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from cli import main as module
from cli.main import COMMANDS, main
from tidemark.errors import Fault, UserError


def _command(monkeypatch: pytest.MonkeyPatch, error: BaseException | None) -> None:
    """Put a command `probe` in place that raises `error`."""

    def command() -> None:
        """Probe."""
        if error is not None:
            raise error

    probe = ModuleType("probe")
    probe.command = command  # type: ignore[attr-defined]
    monkeypatch.setattr(module, "COMMANDS", {"probe": "cli.doctor"})
    monkeypatch.setattr(module, "import_module", lambda _: probe)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (None, 0, ""),
        (UserError("window: 7m is none of 1m, 5m"), 2, "tidemark: window: 7m is none of 1m, 5m\n"),
        (Fault("the lake\ncannot be read"), 1, "tidemark: the lake cannot be read\n"),
    ],
)
def test_an_error_is_one_line_and_its_kind_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    line: str,
) -> None:
    _command(monkeypatch, error)
    assert main(["probe"]) == code
    assert capsys.readouterr() == ("", line)


def test_an_unexpected_error_is_one_line_and_its_trace_a_file_below_the_home(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _command(monkeypatch, ZeroDivisionError("by zero\nand more"))
    assert main(["probe"]) == 1
    (file,) = (home / "logs").iterdir()
    expected = f"tidemark: unexpected ZeroDivisionError: by zero (details in {file})\n"
    assert capsys.readouterr() == ("", expected)
    assert "Traceback" in file.read_text()


@pytest.mark.parametrize("arguments", [["no-such-command"], ["doctor", "--no-such-option"], ["redis", "restart"]])
def test_wrong_use_exits_2(home: Path, arguments: list[str]) -> None:
    assert main(arguments) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_a_bad_setting_stops_every_command(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv("TIDEMARK_LAKES", "/data")
    assert main([name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "tidemark: TIDEMARK_LAKES: unknown setting; did you mean TIDEMARK_LAKE?\n"


def test_help_names_every_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in COMMANDS)


def test_query_starts_within_a_second_and_a_half_and_without_spark(home: Path) -> None:
    """Measured as processor time: the wall belongs to whoever else runs on the machine."""
    program = (
        "import sys, time; from cli.main import main; code = main(['query', '--help']);"
        "assert time.process_time() < 1.5, time.process_time();"
        "sys.exit(code or any(name in sys.modules for name in ('pyspark', 'great_expectations', 'delta')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_a_reader_that_leaves_early_leaves_no_trace(home: Path) -> None:
    line = f"{sys.executable} -m cli.main doctor --json | true"
    done = subprocess.run(["bash", "-c", line], check=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert not (home / "logs").exists()


def test_the_embedded_redis_is_started_and_stopped(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["redis", "start"]) == 0
    url = capsys.readouterr().out.strip()
    assert url.startswith("redis://:")
    assert main(["redis", "stop"]) == 0
    assert capsys.readouterr() == ("", "the embedded Redis has ended\n")


def test_doctor_prints_one_json_document(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    names = {"python", "java", "spark", "spark jars", "state store", "redis", "disk"}
    assert {check["name"] for check in document["checks"]} == names
    assert document["settings"]["home"] == str(home)


def test_doctor_names_what_is_lacking_and_shows_no_password(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setenv("TIDEMARK_REDIS_URL", "redis://user:sesame@cache:6379/0")
    monkeypatch.setenv("TIDEMARK_PSEUDONYM_KEY", "sesame-sesame-sesame")
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert err == "tidemark: this machine lacks: java\n"
    assert "install Java 17" in out
    assert "redis://user:***@cache:6379/0" in out
    assert "sesame" not in out
