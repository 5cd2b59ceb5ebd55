"""Redis writes behind a fence: a writer that a newer one has replaced is refused, whatever it still tries.

Fence value: `epoch:batch:checkpoint` of the newest batch that is in as a whole. A start of a query claims the next
epoch; within one, batches only grow, and each follows the one before: a fence that is gone or behind means that Redis
has lost writes. The identity of the checkpoint says whose views Redis holds.

A large batch is several scripts. Only the last one moves the fence, and each says how many went before it: a Redis that
comes back from a snapshot, a torn log or a replica, at whatever script, never passes for one that has it all.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from tidemark import keys
from tidemark.errors import StaleWriter, ViewsUnavailable
from tidemark.progress import Fence

Command = Sequence[bytes | str | int | float]
SET_NEWER = "SET_NEWER"
"""Own command `(SET_NEWER, key, stamp, value)`: SET unless the key holds a value with a greater stamp; an equal one
keeps the key's time to live. The value is JSON that begins with `{"window_start":"<stamp>"`; stamps compare as text.
A key of another type is replaced, as SET does: one metric's name for a key must not stop the writes of all."""

_MAX_ARGUMENTS = 4000
_MAX_BYTES = 1 << 20
_PIPELINE = 8
_RETRIES = 3
_TIMEOUT_S = 30

# KEYS: fence, step. ARGV: epoch, batch, checkpoint, number of this script in the batch (from 1), 1 if the last, then
# per command: number of words, words. Trap: unpack takes less than 8000 values.
_WRITE = """
local fence = redis.call('GET', KEYS[1])
if not fence then return redis.error_reply('LOST no fence') end
local epoch, batch, holder = string.match(fence, '^(%-?%d+):(%-?%d+):(.*)$')
epoch, batch = tonumber(epoch), tonumber(batch)
local mine_e, mine_b, number = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4])
if epoch > mine_e or (epoch == mine_e and batch > mine_b) then return redis.error_reply('STALE ' .. fence) end
-- Two checkpoints may claim the same epoch when Redis was emptied in between: whoever holds the fence came later.
if epoch == mine_e and holder ~= ARGV[3] then return redis.error_reply('STALE ' .. fence) end
if epoch < mine_e or batch < mine_b - 1 then return redis.error_reply('LOST ' .. fence) end
local under_way = ARGV[1] .. ':' .. ARGV[2] .. ':'
if number > 1 then
  local step = redis.call('GET', KEYS[2]) or ''
  local held = string.sub(step, 1, #under_way) == under_way and tonumber(string.sub(step, #under_way + 1)) or 0
  if held < number - 1 then return redis.error_reply('LOST step ' .. number - 1 .. ' of ' .. under_way) end
end
local i = 6
while i <= #ARGV do
  local n = tonumber(ARGV[i])
  if ARGV[i + 1] == 'SET_NEWER' then
    local held = redis.pcall('GET', ARGV[i + 2])
    local stamp = type(held) == 'string' and string.match(held, '^{"window_start":"([^"]*)"')
    if stamp == ARGV[i + 3] then
      redis.call('SET', ARGV[i + 2], ARGV[i + 4], 'KEEPTTL')
    elseif not stamp or stamp < ARGV[i + 3] then
      redis.call('SET', ARGV[i + 2], ARGV[i + 4])
    end
  else
    redis.call(unpack(ARGV, i + 1, i + n))
  end
  i = i + n + 1
end
redis.call('SET', KEYS[2], under_way .. ARGV[4])
if ARGV[5] == '1' then redis.call('SET', KEYS[1], under_way .. ARGV[3]) end
return 1
"""
# KEYS: epoch, fence, progress. ARGV: epoch to exceed, batch, checkpoint, whether what Redis holds can be trusted, the
# fence that this judgement rests on ('' = none was read).
_CLAIM = """
local is_as_seen = redis.call('GET', KEYS[2]) == ARGV[5] and redis.call('EXISTS', KEYS[3]) == 1
if ARGV[4] == '1' and ARGV[5] ~= '' and not is_as_seen then
  return redis.error_reply('LOST while it was looked at')
end
local epoch = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[1])) + 1
redis.call('SET', KEYS[1], string.format('%d', epoch))
redis.call('SET', KEYS[2], string.format('%d', epoch) .. ':' .. ARGV[2] .. ':' .. ARGV[3])
if ARGV[4] == '0' then redis.call('DEL', KEYS[3]) end
return epoch
"""


class ViewsLost(ViewsUnavailable):
    """Redis lacks what this writer wrote before: the views must be rebuilt before the next write."""


def connect(url: str) -> redis.Redis:
    """A client that retries a broken connection a few times, then raises."""
    retry = Retry(ExponentialBackoff(cap=1, base=0.05), _RETRIES)
    return redis.Redis.from_url(url, retry=retry, socket_timeout=_TIMEOUT_S, socket_connect_timeout=5)


class FencedWriter:
    """The writer of one (contract, lane). Safe to use again after an error: everything it writes is absolute."""

    def __init__(self, client: redis.Redis, contract: str, lane: str, checkpoint: str) -> None:
        self.client = client
        self.checkpoint = checkpoint
        self.contract = contract
        self.lane = lane
        self._fence = keys.fence(contract, lane)
        self._step = keys.step(contract, lane)
        self._write = client.register_script(_WRITE)
        self._claim = client.register_script(_CLAIM)
        self.epoch = 0
        self._written = -1
        self._seen = b""

    def fence(self) -> Fence | None:
        """None when Redis never heard of this lane, or has lost it."""
        with answering():
            held: bytes | None = self.client.get(self._fence)  # type: ignore[assignment]
        self._seen = held or b""
        return None if held is None else Fence.parse(held)

    def claim(self, above: int, committed: int, *, intact: bool) -> int:
        """Take the next epoch, greater than `above`; `committed`: the last committed batch. Older writers are out.

        Views that are not `intact` lose their progress record in the same step, and their fence stays one batch behind
        until the repair is written, as batch `committed`: neither a crash before that, nor a Redis that comes back from
        a copy of that time, must have a fence that vouches for them. ViewsLost when views that `fence` found intact are
        no longer what was seen: a Redis that is emptied in between would get a fence that vouches for nothing.
        """
        names = [keys.epoch(self.contract, self.lane), self._fence, keys.progress(self.contract, self.lane)]
        held = committed if intact else committed - 1
        arguments: list[Any] = [above, held, self.checkpoint, int(intact), self._seen]
        with answering():
            self.epoch = int(self._claim(keys=names, args=arguments))
        self._written = committed
        return self.epoch

    def holds(self) -> bool:
        """Whether the fence is still there, ours, and at the last batch that we wrote: when it is behind, Redis came
        back from an older copy. StaleWriter when a newer writer has taken over."""
        written = self._written
        fence = self.fence()
        if (
            fence is not None
            and (fence.epoch, fence.checkpoint) != (self.epoch, self.checkpoint)
            and fence.epoch >= self.epoch
        ):
            raise StaleWriter(f"{self.contract}/{self.lane}: a newer stream has taken over, epoch {fence.epoch}")
        return fence is not None and fence.epoch == self.epoch and fence.batch >= written

    def write(self, batch: int, commands: Iterable[Command], last: Iterable[Command] = ()) -> None:
        """Apply `commands`, then `last` in one step of its own. StaleWriter, ViewsLost or ViewsUnavailable."""
        with answering(f"{self.contract}/{self.lane} at {self.epoch}:{batch}"):
            number, waiting = 1, _chunks(commands)
            while chunks := list(islice(waiting, _PIPELINE)):
                self._send(batch, number, chunks)
                number += len(chunks)
            self._send(batch, number, [list(_flat(last))], is_last=True)
        self._written = batch

    def _send(self, batch: int, first: int, chunks: Sequence[list[Any]], *, is_last: bool = False) -> None:
        with self.client.pipeline(transaction=False) as pipe:
            for number, arguments in enumerate(chunks, first):
                head: list[Any] = [self.epoch, batch, self.checkpoint, number, int(is_last)]
                self._write(keys=[self._fence, self._step], args=[*head, *arguments], client=pipe)
            pipe.execute()


@contextmanager
def answering(what: str = "speed views") -> Iterator[None]:
    """Turns Redis's errors into ours: STALE → StaleWriter, LOST → ViewsLost, any other → ViewsUnavailable."""
    try:
        yield
    except redis.RedisError as error:
        text = str(error)
        if "STALE" in text:
            raise StaleWriter(f"{what}: a newer stream has taken over") from error
        if "LOST" in text:
            raise ViewsLost(f"{what}: Redis has lost what was written before") from error
        if "OOM " in text:
            raise ViewsUnavailable(f"{what}: Redis is full: {text}") from error
        raise ViewsUnavailable(f"{what}: Redis does not answer: {text}") from error


def _flat(commands: Iterable[Command]) -> Iterator[Any]:
    for command in commands:
        yield len(command)
        yield from command


def _chunks(commands: Iterable[Command]) -> Iterator[list[Any]]:
    """Commands as argument lists of bounded number and size."""
    chunk: list[Any] = []
    size = 0
    for command in commands:
        if chunk and (len(chunk) + len(command) > _MAX_ARGUMENTS or size > _MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk += [len(command), *command]
        size += sum(len(word) for word in command if isinstance(word, bytes))
    if chunk:
        yield chunk
