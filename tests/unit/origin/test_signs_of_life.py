"""What TCP says of a device whose programs say nothing: alive, or without power."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from powercut.clock import MonotonicClock, poll
from powercut.origin import tcp
from powercut.origin.content import Content
from powercut.origin.server import Origin
from powercut.origin.tcp import TcpInfo, parse_tcp_info

from .conftest import LIMIT_S, Served, eventually, lines_of, port_of

CLOCK = MonotonicClock()
# struct tcp_info of an idle connection with keepalive, as Linux 6.18 gave it: last data 3000 ms ago, last ack 952 ms
IDLE = bytes.fromhex(
    "01000000000777010008030000000000480500000c0200000000000000000000000000000000000000000000"
    "b80b000000000000b80b0000b8030000"
)
ALIVE = TcpInfo(state=1, probes=0, backoff=0, unacked=0, silent_s=0.9)
HUGE = 50_000_000


def silence_s(origin: Origin) -> float:
    heard_s = origin.last_heard_s()
    assert heard_s is not None
    return CLOCK.now() - heard_s


def rest(seconds: float) -> None:
    poll(lambda: False, CLOCK, limit_s=seconds)


# what the kernel's structure means


def test_the_kernels_structure_is_read() -> None:
    assert parse_tcp_info(IDLE) == TcpInfo(state=1, probes=0, backoff=0, unacked=0, silent_s=0.952)


@pytest.mark.parametrize(
    ("info", "given_up"),
    [
        pytest.param(ALIVE, False, id="resting"),
        pytest.param(TcpInfo(1, 0, 6, 0, 60.0), False, id="alive, and does not read: probes are answered, but rare"),
        pytest.param(TcpInfo(1, 0, 5, 3, 19.0), False, id="silent, but not for long"),
        pytest.param(TcpInfo(1, 0, 6, 3, 21.0), True, id="acknowledges nothing of what was sent"),
        pytest.param(TcpInfo(1, 3, 6, 0, 21.0), True, id="answers no probe"),
    ],
)
def test_only_who_owes_an_answer_for_long_is_given_up(info: TcpInfo, given_up: bool) -> None:
    assert info.given_up == given_up


@pytest.mark.parametrize(
    ("info", "telling"),
    [
        pytest.param(ALIVE, True, id="resting: probed every second"),
        pytest.param(TcpInfo(1, 0, 6, 3, 0.1), True, id="owes an acknowledgement"),
        pytest.param(TcpInfo(1, 0, 6, 0, 0.1), False, id="does not read: probed rarely"),
        pytest.param(TcpInfo(7, 0, 0, 0, 0.1), False, id="over"),
    ],
)
def test_silence_tells_nothing_of_who_is_not_asked(info: TcpInfo, telling: bool) -> None:
    assert info.telling == telling


# on loopback


def test_nobody_is_heard_where_nobody_is_connected(served: Served) -> None:
    assert served.origin.last_heard_s() is None
    assert not served.origin.telling


def test_a_living_device_that_says_nothing_is_heard_every_second(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), LIMIT_S):
        rest(2.2)
        assert silence_s(served.origin) < 1.2
        assert served.origin.telling


def test_a_device_that_waits_at_the_gate_is_heard_over_tls_too(secured: Served) -> None:
    gate = secured.gate(payload_bytes=1000)
    assert secured.tls is not None
    with (
        socket.create_connection(("127.0.0.1", secured.port), LIMIT_S) as raw,
        secured.tls.wrap_socket(raw, server_hostname="127.0.0.1") as line,
    ):
        line.sendall(b"GET /objects/big HTTP/1.1\r\nHost: origin\r\n\r\n")
        gate.await_shut()
        rest(2.2)
        assert silence_s(secured.origin) < 1.2


def test_a_device_that_hung_up_is_heard_no_more(served: Served) -> None:
    socket.create_connection(("127.0.0.1", served.port), LIMIT_S).close()
    assert eventually(lambda: served.origin.last_heard_s() is None)


def test_a_device_that_went_away_from_the_gate_is_heard_no_more(served: Served) -> None:
    gate = served.gate(payload_bytes=0)
    with socket.create_connection(("127.0.0.1", served.port), LIMIT_S) as line:
        line.sendall(b"GET /objects/big HTTP/1.1\r\nHost: origin\r\n\r\n")
        gate.await_shut()
        assert served.origin.last_heard_s() is not None
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert eventually(lambda: served.origin.last_heard_s() is None)
    assert lines_of(served.origin) == 1


def test_a_unix_socket_tells_nothing(tmp_path: Path) -> None:
    origin = Origin(CLOCK)
    with origin.listen(tmp_path / "origin.sock") as place, socket.socket(socket.AF_UNIX) as line:
        line.connect(place)
        assert eventually(lambda: lines_of(origin) == 1)
        assert origin.last_heard_s() is None


def test_a_living_device_that_does_not_read_for_long_is_let_be(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp, "SILENCE_LIMIT_S", 0.2)
    served.put("objects/huge", bytes(HUGE))
    with socket.create_connection(("127.0.0.1", served.port), LIMIT_S) as line:
        line.sendall(b"GET /objects/huge HTTP/1.0\r\n\r\n")
        assert eventually(lambda: served.origin.telling)
        assert eventually(lambda: not served.origin.telling)
        rest(1.5)
        received = 0
        while data := line.recv(1 << 20):
            received += len(data)
    assert received > HUGE


# in a network of their own, whose link goes down as that of a board without power


@dataclass
class Board:
    """A namespace at the other end of a link."""

    name: str
    address: str

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        in_it = ["ip", "netns", "exec", self.name, *command]
        return subprocess.Popen(in_it, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def lose_power(self) -> None:
        """Nothing that is sent there is answered any more; our end of the link stays up, as a switch's does."""
        run("ip", "netns", "exec", self.name, "ip", "addr", "flush", "dev", "board")
        run("ip", "netns", "exec", self.name, "ip", "link", "set", "board", "arp", "off")


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=20)


@contextmanager
def linked(name: str, address: str, board_address: str) -> Iterator[None]:
    """A link from here to a namespace, which exists."""
    run("ip", "link", "add", name, "type", "veth", "peer", "name", "board", "netns", name)
    try:
        run("ip", "addr", "add", f"{address}/30", "dev", name)
        run("ip", "link", "set", name, "up")
        run("ip", "-n", name, "addr", "add", f"{board_address}/30", "dev", "board")
        run("ip", "-n", name, "link", "set", "board", "up")
        yield
    finally:
        run("ip", "link", "del", name)  # a namespace goes later, when nobody is left in it


@pytest.fixture
def board() -> Iterator[Board]:
    name = f"pc{os.getpid()}"
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:
        pytest.skip("no network namespaces on this system")
    high, low = divmod(os.getpid() % (1 << 14) * 4, 256)
    network = f"198.18.{high}"  # RFC 2544 keeps it for tests
    try:
        with linked(name, f"{network}.{low + 1}", f"{network}.{low + 2}"):
            yield Board(name, f"{network}.{low + 1}")
    finally:
        run("ip", "netns", "del", name)


@pytest.fixture
def called(board: Board, tmp_path: Path) -> Iterator[Callable[[str], tuple[Origin, subprocess.Popen[bytes]]]]:
    """Starts a script on the board that is told where the origin is."""
    (tmp_path / "huge").write_bytes(bytes(HUGE))
    origin = Origin(CLOCK)
    origin.offer(Content(tmp_path))
    with ExitStack() as stack:
        url = stack.enter_context(origin.listen((board.address, 0)))

        def start(script: str) -> tuple[Origin, subprocess.Popen[bytes]]:
            device = board.start(sys.executable, "-c", SCRIPT + script, board.address, str(port_of(url)))
            stack.callback(device.wait)
            stack.callback(device.kill)
            assert eventually(lambda: lines_of(origin) == 1)
            return origin, device

        yield start


SCRIPT = """
import socket, sys, time
line = socket.create_connection((sys.argv[1], int(sys.argv[2])))
"""
RESTS = "time.sleep(60)"
FETCHES = """
line.sendall(b"GET /huge HTTP/1.1\\r\\nHost: origin\\r\\n\\r\\n")
while line.recv(1000):
    time.sleep(0.001)
"""


def test_a_board_that_loses_power_falls_silent_and_its_line_ends(
    board: Board, called: Callable[[str], tuple[Origin, subprocess.Popen[bytes]]]
) -> None:
    origin, _ = called(RESTS)
    rest(2.2)
    assert silence_s(origin) < 1.2
    board.lose_power()
    off_s = CLOCK.now()
    rest(1.5)
    heard_s = origin.last_heard_s()
    assert heard_s is not None
    assert heard_s < off_s + 0.01
    assert eventually(lambda: lines_of(origin) == 0)
    assert CLOCK.now() - off_s < 7.0


def test_a_board_with_power_whose_program_is_stopped_is_heard(
    called: Callable[[str], tuple[Origin, subprocess.Popen[bytes]]],
) -> None:
    origin, device = called(RESTS)
    device.send_signal(19)  # SIGSTOP: its kernel lives on
    rest(2.2)
    assert silence_s(origin) < 1.2


def test_a_thread_that_sends_to_a_board_without_power_ends(
    board: Board,
    called: Callable[[str], tuple[Origin, subprocess.Popen[bytes]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tcp, "SILENCE_LIMIT_S", 1.0)
    origin, _ = called(FETCHES)
    assert eventually(lambda: origin.ledger.payload_bytes() > 1_000_000)
    board.lose_power()
    off_s = CLOCK.now()
    rest(0.5)
    heard_s = origin.last_heard_s()
    assert heard_s is not None
    assert heard_s < off_s + 0.01
    assert eventually(lambda: lines_of(origin) == 0)
