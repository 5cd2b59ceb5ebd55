"""What the serving layer says, asked once as a new process would: an answer, and the status."""

import asyncio
import time
from typing import Any

from conf.settings import Settings
from serving.deps import open_services
from serving.query import Asked
from serving.status import status


def ask(settings: Settings, asked: Asked) -> dict[str, Any]:
    """The answer of the API. Raises the fault that the API would tell."""
    return asyncio.run(_ask(settings, asked))


def ask_status(settings: Settings) -> dict[str, Any]:
    """The document of `tidemark status --json`."""
    return asyncio.run(_status(settings))


async def _ask(settings: Settings, asked: Asked) -> dict[str, Any]:
    services = await open_services(settings)
    try:
        document = (await services.answers.answer(asked)).document
    finally:
        await services.close()
    assert document is not None
    return document


async def _status(settings: Settings) -> dict[str, Any]:
    services = await open_services(settings)
    try:
        return await status(services, time.time())
    finally:
        await services.close()
