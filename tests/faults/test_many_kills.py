"""Many kills of one run with live input, at named places and at moments drawn from a seed (FAULT_SEED=7: another)."""

import os
import random
import time

import pytest

from tests.faults.rig import SIGKILLED, Driver, Rig

pytestmark = [pytest.mark.spark, pytest.mark.fault, pytest.mark.long]
SEED = int(os.environ.get("FAULT_SEED", "1"))
KILLS = 32
LONGEST_LIFE_S = 180.0
"""For a place: on a busy machine a stream takes most of a minute to its first batch."""
PRODUCER_S = 90
PLACES = (
    # While it starts: the note is made, the epoch is claimed, Redis is emptied and filled again.
    "streaming.checkpoint_note:NoteFile.write@1:before",
    "streaming.checkpoint_note:NoteFile.write@1:after",
    "streaming.fenced_writer:FencedWriter.claim@1:before",
    "streaming.fenced_writer:FencedWriter.claim@1:after",
    "streaming.speed_lane:SpeedLane.prepare@1:after",
    # Between the windows and the progress of a batch, and between Redis and the checkpoint's commit.
    "streaming.fenced_writer:FencedWriter._send@1:after",
    "streaming.fenced_writer:FencedWriter._send@2:before",
    "streaming.fenced_writer:FencedWriter._send@3:after",
    "streaming.fenced_writer:FencedWriter.write@2:after",
    "streaming.fenced_writer:FencedWriter.write@4:after",
    # Before the events, between events and quarantine, before and after the counts, before the commit.
    "streaming.lake_writer:LakeWriter._append@1:before",
    "streaming.lake_writer:LakeWriter._append@1:after",
    "streaming.lake_writer:LakeWriter._append@2:after",
    "streaming.lake_writer:LakeWriter._count@1:before",
    "streaming.lake_writer:LakeWriter._count@2:after",
)


def draw_kills(chance: random.Random) -> list[str | float]:
    """Each place once, then seconds of life, in an order of chance."""
    moments: list[str | float] = [round(chance.uniform(1, 27), 2) for _ in range(KILLS - len(PLACES))]
    plan = [*PLACES, *moments]
    chance.shuffle(plan)
    return plan


def live_for(driver: Driver, kill: str | float) -> bool:
    """Let a stream live until its place, its moment or the longest life; whether it died at its place by itself."""
    until = time.monotonic() + (LONGEST_LIFE_S if isinstance(kill, str) else kill)
    while driver.is_alive and time.monotonic() < until:
        time.sleep(0.05)
    died = not driver.is_alive
    driver.kill()
    return died


def test_thirty_kills_under_live_input_lose_and_double_nothing(rig: Rig) -> None:
    chance = random.Random(SEED)
    reached: list[str | float] = []
    with_input = 0
    producer = rig.produce(60, PRODUCER_S, SEED * 1000, "--duplicates", "0.05", "--invalid", "0.05")
    try:
        for kill in draw_kills(chance):
            if not producer.is_alive:
                assert producer.wait() == 0, producer.text()
                seed = SEED * 1000 + len(rig.ledgers)
                producer = rig.produce(60, PRODUCER_S, seed, "--duplicates", "0.05", "--invalid", "0.05")
            with rig.stream(places=[kill] if isinstance(kill, str) else []) as driver:
                if live_for(driver, kill):
                    assert driver.wait() == SIGKILLED, f"seed {SEED}, {kill}: {driver.text()[-4000:]}"
                    reached.append(kill)
                with_input += producer.is_alive
        assert producer.wait(PRODUCER_S * 2) == 0, producer.text()
    finally:
        producer.kill()
    rig.drain()
    told = f"seed {SEED}, {KILLS} kills, {len(reached)} at their place, {with_input} under live input"
    print(told)
    try:
        rig.assert_exact()
        counts = rig.assert_conserved()
        assert rig.assert_bronze_exact() == counts["received"]
    except AssertionError as error:
        raise AssertionError(f"{told}: {error}") from error
    missed = set(PLACES) - set(reached)
    assert not missed, f"{told}; never reached: {missed}"
