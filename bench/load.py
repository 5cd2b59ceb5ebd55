"""HTTP load over keep-alive connections, from one process: as fast as answers come, or at a fixed rate.

Requests are bytes made beforehand. One selector loop reads only the status line and the length of a reply, which costs
some 30 µs of CPU per request: what a generator on the same cores takes away is in every result.
"""

import selectors
import socket
import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

_BUFFER = bytearray(1 << 20)
_VIEW = memoryview(_BUFFER)
GIVE_UP_S = 30.0
"""Without any reply for so long, a run ends with an error."""


@dataclass(slots=True)
class Measured:
    """`latencies_ms`: of a fixed rate, from the instant at which the request was due; else from its sending."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_s(self) -> float:
        return len(self.latencies_ms) / self.seconds

    @property
    def cpu_us(self) -> float:
        """Of the generator, per request."""
        return self.cpu_s / len(self.latencies_ms) * 1e6

    def percentile(self, percent: int) -> float:
        return statistics.quantiles(self.latencies_ms, n=100, method="inclusive")[percent - 1]

    def expect(self, status: int) -> "Measured":
        """Itself, when every reply had this status."""
        if set(self.statuses) != {status}:
            raise RuntimeError(f"replies by status: {self.statuses}, expected only {status}")
        return self


def get(path: str, host: str = "bench") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def post(path: str, body: bytes, content_type: str = "application/json", host: str = "bench") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def as_fast_as_answered(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float, seed: int = 1
) -> Measured:
    """Each connection sends its next request when it has its reply. Requests are drawn at random."""
    draws = _draws(requests, seed)
    with _Connections(port, connections) as pool:
        run, began, cpu = Measured(), time.perf_counter(), time.process_time()
        ends = began + seconds
        for each in pool.all:
            each.send(next(draws), time.perf_counter())
        while pool.busy:
            for each in pool.replies(run, GIVE_UP_S):
                now = time.perf_counter()
                if now < ends:
                    each.send(next(draws), now)
        run.seconds, run.cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return run


def at_rate(
    port: int,
    requests: Sequence[bytes],
    *,
    rate: float,
    seconds: float,
    connections: int = 128,
    seed: int = 1,
    in_order: bool = False,
) -> Measured:
    """Open loop: request k is due at k / rate, whatever became of the others; a late one counts its waiting, too.

    Requests are drawn at random, or each is sent once, `in_order`.
    """
    total = int(rate * seconds)
    draws = iter(requests) if in_order else _draws(requests, seed)
    with _Connections(port, connections) as pool:
        run, began, cpu = Measured(), time.perf_counter(), time.process_time()
        idle = deque(pool.all)
        sent = 0
        while sent < total or pool.busy:
            now = time.perf_counter()
            while idle and sent < total and began + sent / rate <= now:
                idle.popleft().send(next(draws), began + sent / rate)
                sent += 1
            due = began + sent / rate - time.perf_counter()
            idle.extend(pool.replies(run, max(due, 0.0) if idle and sent < total else GIVE_UP_S))
        run.seconds, run.cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return run


def once_each(port: int, requests: Sequence[bytes], *, connections: int) -> Measured:
    """Every request once, in order."""
    with _Connections(port, connections) as pool:
        run, began, cpu = Measured(), time.perf_counter(), time.process_time()
        left = iter(requests)
        for each, request in zip(pool.all, left, strict=False):
            each.send(request, time.perf_counter())
        while pool.busy:
            for each in pool.replies(run, GIVE_UP_S):
                if (following := next(left, None)) is not None:
                    each.send(following, time.perf_counter())
        run.seconds, run.cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return run


def _draws(requests: Sequence[bytes], seed: int) -> Iterator[bytes]:
    rng = Random(seed)
    while True:
        yield rng.choice(requests)


class _Connection:
    """One request at a time."""

    def __init__(self, pool: "_Connections", port: int) -> None:
        self._pool = pool
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._due = 0.0
        self._left: int | None = None
        self._head = b""

    def send(self, request: bytes, due: float) -> None:
        self._due, self._left, self._head = due, None, b""
        self.socket.sendall(request)
        self._pool.busy += 1

    def receive(self, run: Measured) -> bool:
        """Take what came; whether the reply is whole."""
        size = self.socket.recv_into(_VIEW)
        if not size:
            raise RuntimeError("the server closed a connection")
        if self._left is None:
            self._head += bytes(_VIEW[: min(size, 4096)])
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._left = _length(self._head[:end]) + end + 4 - len(self._head) + min(size, 4096)
            status = int(self._head[9:12])
            run.statuses[status] = run.statuses.get(status, 0) + 1
        self._left -= size
        if self._left:
            return False
        run.latencies_ms.append((time.perf_counter() - self._due) * 1000)
        self._pool.busy -= 1
        return True


class _Connections:
    """Open connections; `busy` of them wait for a reply."""

    def __init__(self, port: int, count: int) -> None:
        self.busy = 0
        self._selector = selectors.DefaultSelector()
        self.all = [_Connection(self, port) for _ in range(count)]
        for each in self.all:
            self._selector.register(each.socket, selectors.EVENT_READ, each)

    def __enter__(self) -> "_Connections":
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        for each in self.all:
            each.socket.close()

    def replies(self, run: Measured, wait_s: float) -> Iterator[_Connection]:
        """Connections whose replies became whole within `wait_s`."""
        ready = self._selector.select(wait_s)
        if not ready and wait_s == GIVE_UP_S:
            raise RuntimeError(f"no reply for {GIVE_UP_S:.0f} s; replies so far by status: {run.statuses}")
        for key, _ in ready:
            if key.data.receive(run):
                yield key.data


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at < 0:
        raise RuntimeError(f"a reply without a length: {head[:200]!r}")
    return int(lower[at + 15 :].split(b"\r\n", 1)[0])
