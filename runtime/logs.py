"""Logs: structlog events on stderr, one JSON object a line; readable lines when stderr is a terminal.

stdout is never written: it belongs to the command's answer.
"""

import logging
import sys

import structlog

from conf.settings import Settings


def configure_logging(settings: Settings) -> None:
    """Configure structlog for this process; `structlog.get_logger()` anywhere uses it."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
