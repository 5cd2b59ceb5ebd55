"""A deployment to damage again and again: drained, partly sealed, with records that no query has read yet.

It is built once, with the session of the tests, then put back to the byte before each damage: home and Redis. Always
to the same place, for the checkpoints hold the absolute names of the source's segments.
"""

import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from conf.settings import Settings
from tests.e2e.deployment import Deployment
from tests.faults.rig import Rig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BEGIN = 1_767_225_600
"""2026-01-01T00:00:00Z"""
CHUNK_S = 1200
FILES = {
    "lake/offsets": "lake/offsets/[0-9]*",
    "lake/commits": "lake/commits/[0-9]*",
    "lake/metadata": "lake/metadata",
    "lake/sources": "lake/sources/0/[0-9]*",
    "lake/note": "lake/tidemark.json",
    "exact/offsets": "exact/offsets/[0-9]*",
    "exact/commits": "exact/commits/[0-9]*",
    "exact/metadata": "exact/metadata",
    "exact/sources": "exact/sources/0/[0-9]*",
    "exact/note": "exact/tidemark.json",
    "exact/sums": "exact/state/0/0/[0-9]*[pg]",
    "exact/dedupe": "exact/state/1/1/[0-9]*[pg]",
    "exact/state-metadata": "exact/state/0/_metadata/metadata",
    "exact/state-schema": "exact/state/0/0/_metadata/schema",
}
"""Kind of checkpoint file → where; the newest of several is damaged."""
HOW = ("truncated", "emptied", "corrupted", "deleted")


class DamagedHome:
    """`snapshots`: the newest state is a snapshot (`N.zip`) instead of a changelog."""

    def __init__(self, spark: "SparkSession", settings: Settings, folder: Path, snapshots: bool = False) -> None:
        self.rig = Rig(settings, folder)
        self.deployment = Deployment(spark, settings, ["access"])
        self.client = redis.Redis.from_url(str(settings.redis_url))
        self.checkpoints = Path(settings.checkpoints_uri) / "access"
        self._pristine = folder / "pristine"
        self._home = settings.home
        self._changelogs = "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled"
        self._build(spark, snapshots)
        shutil.copytree(self._home, self._pristine, symlinks=True)
        self._keys = {key: (self.client.pttl(key), self.client.dump(key)) for key in self.client.keys("*")}

    def _build(self, spark: "SparkSession", snapshots: bool) -> None:
        before = spark.conf.get(self._changelogs)
        self._produce(0)
        self.deployment.drain()
        self._produce(1)
        spark.conf.set(self._changelogs, str(not snapshots).lower())
        try:
            self.deployment.drain()
        finally:
            spark.conf.set(self._changelogs, before)
        self.deployment.batch(BEGIN + 1800)
        self._produce(2)

    def _produce(self, chunk: int) -> None:
        start = BEGIN + chunk * CHUNK_S
        with self.rig.produce(
            3, CHUNK_S, 10 + chunk, "--duplicates", "0.05", "--invalid", "0.05", start=start
        ) as producer:
            assert producer.wait() == 0, producer.text()

    def restore(self) -> None:
        """As it was built."""
        shutil.rmtree(self._home)
        shutil.copytree(self._pristine, self._home, symlinks=True)
        self.client.flushall()
        for key, (ttl_ms, content) in self._keys.items():
            if ttl_ms != 0:
                self.client.restore(key, max(ttl_ms, 0), content)

    def newest(self, kind: str) -> Path:
        """The file of a kind that the next start needs."""
        found = list(self.checkpoints.glob(FILES[kind]))
        return max(found, key=lambda file: (int("0" + "".join(filter(str.isdecimal, file.stem))), file.name))

    def damage(self, kind: str, how: str, seed: int) -> Path:
        """Truncate at a place of chance, empty, overwrite some bytes, or delete with its checksum."""
        file, chance = self.newest(kind), random.Random(f"{seed}/{kind}/{how}")
        content = bytearray(file.read_bytes())
        if how == "deleted":
            file.unlink()
            file.with_name(f".{file.name}.crc").unlink(missing_ok=True)
            return file
        if how == "corrupted":
            for at in chance.sample(range(len(content)), max(1, len(content) // 50)):
                content[at] ^= 1 << chance.randrange(8)
        file.write_bytes({"emptied": b"", "truncated": content[: chance.randrange(1, len(content))]}.get(how, content))
        return file

    def assert_all_exact(self) -> None:
        """(R), (C) and bronze, over everything that was produced."""
        self.rig.assert_exact()
        counts = self.rig.assert_conserved()
        assert self.rig.assert_bronze_exact() == counts["received"]

    def close(self) -> None:
        self.client.close()
