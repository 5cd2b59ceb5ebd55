"""Readers that never stop asking while something breaks, and remember every different answer that they were given."""

import asyncio
import json
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from conf.settings import Settings
from serving.deps import Services, open_services
from serving.query import Asked
from tidemark.windows import Span, iso

Question = tuple[str, str, Span]
"""(metric, window, range); asked by every dimension."""
PAUSE_S = 0.05


def canonical(document: dict[str, Any]) -> str:
    """A whole answer with its provenance, as text; without its age, which moves with the clock."""
    return json.dumps({name: value for name, value in document.items() if name != "freshness_seconds"}, sort_keys=True)


def ask_all(settings: Settings, questions: Sequence[Question]) -> list[str]:
    """Each question once, as a new process would."""
    return asyncio.run(_ask_all(settings, questions))


async def _ask_all(settings: Settings, questions: Sequence[Question]) -> list[str]:
    services = await open_services(settings)
    try:
        return [await _ask(services, question) for question in questions]
    finally:
        await services.close()


async def _ask(services: Services, question: Question) -> str:
    metric, window, span = question
    dims = tuple(dim.name for dim in services.catalogue.metric(metric).dims)
    asked = Asked(metric, window, iso(span.start), iso(span.end), (), dims, None, None, False)
    answer = await services.answers.answer(asked)
    assert answer.document is not None
    return canonical(answer.document)


class Readers(AbstractContextManager["Readers"]):
    """One process's worth of serving, with its caches. `seen`: per question, its different answers in order."""

    def __init__(self, settings: Settings, questions: Sequence[Question]) -> None:
        self._settings, self._questions = settings, questions
        self.seen: dict[Question, list[str]] = {question: [] for question in questions}
        self.asked = 0
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="readers")

    def __enter__(self) -> "Readers":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._read())
        except BaseException as error:  # noqa: BLE001  told by the test, which runs in another thread
            self.failure = error

    async def _read(self) -> None:
        services = await open_services(self._settings)
        try:
            while not self._stop.is_set():
                for question in self._questions:
                    found = await _ask(services, question)
                    self.asked += 1
                    if self.seen[question][-1:] != [found]:
                        self.seen[question].append(found)
                await asyncio.sleep(PAUSE_S)
        finally:
            await services.close()
