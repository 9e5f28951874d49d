"""A real origin on a real socket, and receivers that count what arrives."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from powercut.clock import MonotonicClock, poll
from powercut.origin.content import Content
from powercut.origin.gate import Gate, Limit
from powercut.origin.server import Origin

LIMIT_S = 10.0
OBJECT = Random("object").randbytes(200_000)


@dataclass(frozen=True)
class Answer:
    """What a client got; `body` holds what arrived, even when the line broke."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Served:
    """An origin that serves `root` over TCP. Objects are payload, everything else is not."""

    origin: Origin
    root: Path
    port: int

    def get(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """One answer on a line of its own, when the origin has written it down and closed the line."""
        line = _connected(self.port)
        with line.sock.dup() as end:
            line.request(method, target, headers={"Connection": "close", **headers})
            answer = line.getresponse()
            try:
                body = answer.read()
            except http.client.IncompleteRead as cut_short:
                body = cut_short.partial
            assert end.recv(1) == b""
        return Answer(answer.status, dict(answer.getheaders()), body)

    def put(self, path: str, content: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def gate(self, **limit: object) -> GateUnderTest:
        gate = GateUnderTest(**limit)
        self.origin.arm(gate.gate)
        return gate


class GateUnderTest:
    """A gate that counts how often it called `shut`."""

    def __init__(self, **limit: object) -> None:
        self.calls = 0
        self._called = threading.Event()
        self.gate = Gate(Limit(**{"dwell_s": 0.01, **limit}), self._shut)  # type: ignore[arg-type]

    def _shut(self) -> None:
        self.calls += 1
        self._called.set()

    def await_shut(self) -> None:
        assert self._called.wait(LIMIT_S), "the gate did not shut"


class Receivers:
    """Keep-alive connections that fetch in parallel until their line ends, and count the body bytes that arrive."""

    def __init__(self, port: int, paths: Sequence[str], rng: Random, connections: int = 8) -> None:
        self._received = [0] * connections
        orders = [rng.sample(paths, len(paths)) for _ in range(connections)]
        self._threads = [
            threading.Thread(target=self._fetch, args=(_connected(port), number, order), daemon=True)
            for number, order in enumerate(orders)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def received_bytes(self) -> int:
        return sum(self._received)

    def finish(self) -> int:
        """Wait until every line has ended; what all of them received."""
        for thread in self._threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()
        return self.received_bytes

    def _fetch(self, line: http.client.HTTPConnection, number: int, order: Sequence[str]) -> None:
        try:
            for path in order:
                line.request("GET", path)
                answer = line.getresponse()
                while piece := answer.read1(65536):
                    self._received[number] += len(piece)
                answer.close()  # read1 leaves that to us
        except (OSError, http.client.HTTPException):
            pass
        finally:
            line.close()


def _connected(port: int) -> http.client.HTTPConnection:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    line.connect()
    line.auto_open = 0  # a line that ended is never opened again
    return line


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    root = tmp_path / "root"
    (root / "objects").mkdir(parents=True)
    (root / "objects" / "big").write_bytes(OBJECT)
    (root / "config").write_bytes(b"mode=archive\n")
    origin = Origin(MonotonicClock())
    origin.offer(Content(root, {"/ref": b"newest\n"}, payload=lambda path: path.startswith("/objects/")))
    with origin.listen(("127.0.0.1", 0)) as url:
        yield Served(origin, root, int(url.rsplit(":", 1)[1]))


def eventually(ready: Callable[[], object]) -> bool:
    """Whether `ready` holds within a generous limit."""
    return bool(poll(ready, MonotonicClock(), limit_s=LIMIT_S, every_s=0.002))


def until_the_end(line: socket.socket) -> bytes:
    """What comes until the line is closed or torn down."""
    received = b""
    with suppress(ConnectionResetError):
        while data := line.recv(65536):
            received += data
    return received
