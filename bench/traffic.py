"""The reference load: seeded traffic of a pack as a file made once, and its way into a topic."""

import subprocess
from pathlib import Path

from confluent_kafka import Producer

from bench.deployment import TIDEMARK, lines

DATA = Path(__file__).parent / ".data"
FROM = "2026-03-01T00:00:00Z"
RATE = 2_000
DEVICES = 10_000


def traffic(pack: str, events: int, *, rate: float = RATE, keys: int = DEVICES, seed: int = 1) -> Path:
    """NDJSON of `events` records at `rate` a second of event time; made once per set of arguments."""
    file = DATA / f"{pack}-{events}-{rate:g}-{keys}-{seed}.ndjson"
    if not file.exists():
        DATA.mkdir(exist_ok=True)
        half = file.with_suffix(".part")
        given = ["--rate", str(rate), "--seconds", str(events / rate), "--seed", str(seed), "--keys", str(keys)]
        command = [str(TIDEMARK), "simulate", pack, *given, "--start", FROM, "--to", str(half)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={"TIDEMARK_HOME": str(DATA)})
        half.rename(file)
    return file


def produce(file: Path, bootstrap: str, topic: str) -> int:
    """Every record of the file into the topic, as fast as the broker takes them; how many."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "batch.size": 1 << 20, "compression.type": "lz4"}
    )
    count = 0
    for line in lines(file):
        while True:
            try:
                producer.produce(topic, line)
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
        if count % 10_000 == 0:
            producer.poll(0)
    if producer.flush(60):
        raise RuntimeError(f"{topic}: records were not delivered")
    return count
