"""Entry point `tidemark`. Exit codes: 0 done, 1 failed, 2 wrong use; errors are one line on stderr.

A command is a module of `COMMANDS` with either a function `command` (its parameters are typer's, its docstring is the
help) or, for a command with subcommands, a `typer.Typer` named `app`. Only the module that was asked for is imported,
and modules import what is heavy (pyspark, Great Expectations) inside their functions: `tidemark query` must answer
before a JVM would have started. A command calls `load_settings()` itself, raises UserError or Fault and prints its
answer with `cli.output`; logs and progress go to stderr.
"""

import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import typer

from conf.settings import load_settings
from runtime.logs import configure_logging
from runtime.storage_trouble import storage_trouble
from tidemark.errors import TidemarkError, UserError

COMMANDS = {
    "ingest": "cli.ingest",
    "simulate": "cli.simulate",
    "stream": "cli.stream",
    "batch": "cli.batch",
    "query": "cli.query",
    "serve": "cli.serve",
    "status": "cli.status",
    "rebuild-speed": "cli.rebuild_speed",
    "reset-speed": "cli.reset_speed",
    "backup": "cli.backup",
    "restore": "cli.restore",
    "definitions": "cli.definitions",
    "plan": "cli.plan",
    "doctor": "cli.doctor",
    "demo": "cli.demo",
    "emr": "cli.emr",
    "redis": "cli.embedded_redis",
}
FAILED, WRONG_USE = 1, 2


def run() -> None:
    """The process: arguments in, exit code out."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. A bad setting stops it before anything else is looked at."""
    try:
        settings = load_settings()
        configure_logging(settings)
        return _run(arguments, settings.home)
    except UserError as error:
        return _say(str(error), WRONG_USE)
    except TidemarkError as error:
        return _say(str(error), FAILED)


def _run(arguments: Sequence[str], home: Path) -> int:
    asked = [arguments[0]] if arguments and arguments[0] in COMMANDS else list(COMMANDS)
    try:
        _app(asked)(args=list(arguments), prog_name="tidemark")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except TidemarkError:
        raise
    except BrokenPipeError:
        # The reader has gone (`| head`): nobody to tell, and the interpreter must not try to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001  the last resort of the process
        if trouble := storage_trouble(error):
            return _say(trouble, FAILED)
        return _say(f"{_headline(error)} ({_keep_trace(home)})", FAILED)
    return 0


def _app(names: Iterable[str]) -> typer.Typer:
    app = typer.Typer(
        name="tidemark",
        callback=_root,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for name in names:
        module = import_module(COMMANDS[name])
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(module.command)
    return app


def _root() -> None:
    """Batch owns every window that ended at or before sealed_through, speed every later one; an answer says which."""


def _say(line: str, code: int) -> int:
    print(f"tidemark: {' '.join(line.split())}", file=sys.stderr)
    return code


def _headline(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return f"unexpected {type(error).__name__}: {text[:300]}"


def _keep_trace(home: Path) -> str:
    """Write the current exception's trace below the home; where it is, or why it is nowhere."""
    folder = home / "logs"
    file = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(f"tidemark {' '.join(sys.argv[1:])}\n{traceback.format_exc()}", encoding="utf-8")
    except OSError as error:
        return f"no details kept: {error.strerror}"
    return f"details in {file}"


if __name__ == "__main__":
    run()
