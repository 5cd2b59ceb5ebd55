"""The process behind `tidemark serve`: Granian, with one event loop per worker."""

import socket
from contextlib import suppress

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from conf.settings import Settings
from runtime.redis_server import redis_url
from serving.catalogue import Catalogue
from tidemark.errors import Fault, ViewsUnavailable

STOP_TIMEOUT_S = 10
_LEVELS = {level.value: level for level in LogLevels}


def serve(settings: Settings, host: str, port: int, workers: int) -> None:
    """Returns after a clean end. Raises Fault when the port is taken, UserError for definitions that cannot be read."""
    Catalogue(settings.definition_folders)
    _check_port(host, port)
    with suppress(ViewsUnavailable):
        redis_url(settings)  # once, here, instead of by each worker; without it sealed answers still work
    Granian(
        "serving.app:served_app",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        factory=True,
        workers=workers,
        websockets=False,
        log_level=_LEVELS.get(settings.log_level, LogLevels.info),
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_TIMEOUT_S,
    ).serve()


def _check_port(host: str, port: int) -> None:
    """Granian's workers would only say it in their log."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise Fault(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
