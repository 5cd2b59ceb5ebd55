"""The fence's two Lua scripts in Python, for the simulation. A differential test holds them to a real Redis.

`Strings` is what the scripts touch directly: GET, SET, DEL of text keys. `run` carries out the batch's own commands.
"""

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

Strings = MutableMapping[str, bytes]
Run = Callable[[Sequence[Any]], object]


class Refused(Exception):
    """STALE or LOST, as the script replies it."""


class FenceModel:
    """The rules. The attributes exist to be mutated: a simulation that misses the lack of a rule proves nothing."""

    refuses_stale = True
    refuses_lost = True
    checks_steps = True
    only_last_moves = True
    claim_withdraws = True
    claim_exceeds = True
    claim_looks_again = True

    def write(self, strings: Strings, names: Sequence[str], argv: Sequence[Any], run: Run) -> int:
        """One script of a batch. `argv`: epoch, batch, checkpoint, number, is last, then counted commands."""
        fence_key, step_key = names
        mine_e, mine_b, checkpoint, number, is_last = int(argv[0]), int(argv[1]), argv[2], int(argv[3]), int(argv[4])
        self._check_fence(strings.get(fence_key), mine_e, mine_b, checkpoint)
        under_way = f"{mine_e}:{mine_b}:"
        if self.checks_steps and number > 1:
            step = strings.get(step_key, b"").decode()
            held = int(step.removeprefix(under_way)) if step.startswith(under_way) else 0
            if held < number - 1:
                raise Refused(f"LOST step {number - 1} of {under_way}")
        at = 5
        while at < len(argv):
            words = int(argv[at])
            run(argv[at + 1 : at + 1 + words])
            at += words + 1
        strings[step_key] = f"{under_way}{number}".encode()
        if is_last or not self.only_last_moves:
            strings[fence_key] = f"{under_way}{checkpoint}".encode()
        return 1

    def _check_fence(self, held: bytes | None, mine_e: int, mine_b: int, checkpoint: str) -> None:
        if held is None:
            raise Refused("LOST no fence")
        epoch, batch = (int(part) for part in held.split(b":")[:2])
        holder = held.decode().split(":", 2)[2]
        if self.refuses_stale and (epoch > mine_e or (epoch == mine_e and batch > mine_b)):
            raise Refused(f"STALE {held.decode()}")
        if self.refuses_stale and epoch == mine_e and holder != checkpoint:
            raise Refused(f"STALE {held.decode()}")
        if self.refuses_lost and (epoch < mine_e or batch < mine_b - 1):
            raise Refused(f"LOST {held.decode()}")

    def claim(self, strings: Strings, names: Sequence[str], argv: Sequence[Any]) -> int:
        """`argv`: epoch to exceed, last committed batch, checkpoint, whether the views are intact, the fence seen."""
        epoch_key, fence_key, progress_key = names
        is_as_seen = strings.get(fence_key) == argv[4] and progress_key in strings
        if self.claim_looks_again and int(argv[3]) and argv[4] and not is_as_seen:
            raise Refused("LOST while it was looked at")
        held = int(strings.get(epoch_key, b"0"))
        epoch = (max(held, int(argv[0])) if self.claim_exceeds else held) + 1
        strings[epoch_key] = str(epoch).encode()
        strings[fence_key] = f"{epoch}:{argv[1]}:{argv[2]}".encode()
        if self.claim_withdraws and not int(argv[3]):
            strings.pop(progress_key, None)
        return epoch
