"""A real origin on a real socket, and receivers that count what arrives."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

import tests.nginx
from powercut.clock import MonotonicClock, poll
from powercut.origin.content import Content
from powercut.origin.gate import Gate, Limit
from powercut.origin.listener import Listener
from powercut.origin.server import Origin
from powercut.origin.tls import RunCA

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
    """An origin that serves `root` over TCP, and what a client trusts. Objects are payload, everything else is not."""

    origin: Origin
    root: Path
    port: int
    tls: ssl.SSLContext | None = None

    def get(self, target: str, method: str = "GET", body: object = None, **headers: str) -> Answer:
        """One answer on a line of its own, when the origin has written it down and closed the line."""
        line = connected(self.port, self.tls)
        with socket.socket(fileno=os.dup(line.sock.fileno())) as end:
            chunked = body is not None and not isinstance(body, bytes)
            line.request(method, target, body, {"Connection": "close", **headers}, encode_chunked=chunked)  # type: ignore[arg-type]
            answer = line.getresponse()
            try:
                body = answer.read()
            except http.client.IncompleteRead as cut_short:
                body = cut_short.partial
            end.settimeout(LIMIT_S)
            until_the_end(end)
        return Answer(answer.status, dict(answer.getheaders()), body)

    def put(self, path: str, content: bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def gate(self, **limit: object) -> GateUnderTest:
        return gate(self.origin, **limit)


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


def gate(origin: Listener, **limit: object) -> GateUnderTest:
    gate = GateUnderTest(**limit)
    origin.arm(gate.gate)
    return gate


class Receivers:
    """Keep-alive connections that fetch in parallel until their line ends, and count the body bytes that arrive."""

    def __init__(
        self,
        port: int,
        paths: Sequence[str],
        rng: Random,
        connections: int = 8,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._received = [0] * connections
        orders = [rng.sample(paths, len(paths)) for _ in range(connections)]
        self._threads = [
            threading.Thread(target=self._fetch, args=(connected(port, tls), number, order), daemon=True)
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


def connected(port: int, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    if tls is None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    else:
        line = http.client.HTTPSConnection("127.0.0.1", port, timeout=LIMIT_S, context=tls)
    line.connect()
    line.auto_open = 0  # a line that ended is never opened again
    return line


def content(root: Path) -> Content:
    """A small release below `root`, and the ref that leads to it."""
    (root / "objects").mkdir(parents=True)
    (root / "objects" / "big").write_bytes(OBJECT)
    (root / "config").write_bytes(b"mode=archive\n")
    return Content(root, {"/ref": b"newest\n"}, payload=lambda path: path.startswith("/objects/"))


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    origin = Origin(MonotonicClock())
    origin.offer(content(tmp_path / "root"))
    with origin.listen(("127.0.0.1", 0)) as url:
        yield Served(origin, tmp_path / "root", port_of(url))


@pytest.fixture(scope="session")
def ca() -> RunCA:
    return RunCA()


@pytest.fixture
def secured(tmp_path: Path, ca: RunCA) -> Iterator[Served]:
    """As `served`, over TLS."""
    origin = Origin(MonotonicClock())
    origin.offer(content(tmp_path / "root"))
    with origin.listen(("127.0.0.1", 0), ca.context("127.0.0.1")) as url:
        yield Served(origin, tmp_path / "root", port_of(url), ssl.create_default_context(cadata=ca.pem))


@pytest.fixture
def objects(served: Served) -> Served:
    """A release of 24 objects, from one byte to more than one piece."""
    fill(served)
    return served


PATHS = [f"/objects/{number:02}" for number in range(24)]


def fill(served: Served) -> None:
    rng = Random("release")
    for path in PATHS:
        served.put(path[1:], rng.randbytes(rng.choice([1, 700, 4096, 30_000, 70_000])))


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts nginx over a folder; the port it listens on. `pair`: its key and certificate, for TLS."""
    with ExitStack() as stack:
        yield lambda root, pair=None: stack.enter_context(tests.nginx.nginx(tmp_path / "nginx", root, pair))


def lines_of(origin: Listener) -> int:
    """How many connections the origin has open."""
    return len(origin._lines)


def origin_threads() -> int:
    return sum(thread.name.startswith("origin ") for thread in threading.enumerate())


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
