"""Everything the routes need, wired once per process from the settings."""

import asyncio
import logging
from dataclasses import dataclass, field

from conf.settings import Settings
from intake.source import Source, open_source
from runtime.redis_server import redis_url
from serving.answer_service import AnswerService
from serving.backlog import Backlogs
from serving.batch_store import BatchStore
from serving.catalogue import Catalogue
from serving.group_commit import GroupCommit
from serving.lake_reader import LakeReader
from serving.quality_mark import QualityWatch
from serving.speed_store import SpeedStore
from serving.telemetry import Telemetry
from serving.views import Views
from tidemark.errors import ViewsUnavailable
from tidemark.keys import LakeTables

log = logging.getLogger("tidemark.serving")


@dataclass
class Services:
    """One per process; used from one event loop."""

    settings: Settings
    catalogue: Catalogue
    views: Views
    lake: LakeReader
    telemetry: Telemetry = field(default_factory=Telemetry)
    quality: QualityWatch = field(default_factory=QualityWatch)
    tables: LakeTables = field(init=False)
    speed: SpeedStore = field(init=False)
    batch: BatchStore = field(init=False)
    backlogs: Backlogs = field(init=False)
    answers: AnswerService = field(init=False)
    _sources: dict[str, Source] = field(default_factory=dict)
    _commits: dict[str, GroupCommit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tables = LakeTables(self.settings.lake_uri)
        self.speed = SpeedStore(self.views)
        self.batch = BatchStore(self.views, self.lake, self.tables)
        self.backlogs = Backlogs(self.source)
        self.answers = AnswerService(
            self.catalogue, self.speed, self.batch, self.backlogs, self.quality, self.settings.stale_after_s
        )

    def source(self, contract: str) -> Source:
        """The source of a known contract, opened once."""
        if contract not in self._sources:
            self._sources[contract] = open_source(self.settings, self.catalogue.contract(contract).newest)
        return self._sources[contract]

    def commits(self, contract: str) -> GroupCommit:
        """The group commit of a known contract."""
        if contract not in self._commits:
            self._commits[contract] = GroupCommit(self.source(contract))
        return self._commits[contract]

    async def close(self) -> None:
        await self.views.close()


async def open_services(settings: Settings) -> Services:
    """Wire a process. Neither Redis nor the lake need to answer yet; the definitions must be readable."""
    catalogue = await asyncio.to_thread(Catalogue, settings.definition_folders)
    try:
        url: str | None = await asyncio.to_thread(redis_url, settings)
    except ViewsUnavailable as error:
        log.warning("speed views are not available: %s", error)
        url = None
    return Services(settings, catalogue, Views.connect(url), LakeReader())
