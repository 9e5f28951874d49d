"""A relay: the device and the real server speak with each other, and every byte is counted."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
import trustme

from powercut.clock import MonotonicClock
from powercut.errors import UsageError
from powercut.origin.faults import Fault, Kind
from powercut.origin.gate import Gate
from powercut.origin.passthrough import Passthrough
from powercut.origin.tls import RunCA
from tests.nginx import free_port

from .conftest import LIMIT_S, OBJECT, eventually, gate, lines_of, origin_threads, port_of, until_the_end

CURL = ["curl", "-sS", "--max-time", "20"]


class RealServer:
    """Takes connections and leaves what is said on them to the test."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LIMIT_S)
        self.name = "{}:{}".format(*self._listener.getsockname())
        self._lines: list[socket.socket] = []

    def take(self) -> socket.socket:
        line, _ = self._listener.accept()
        line.settimeout(LIMIT_S)
        self._lines.append(line)
        return line

    def close(self) -> None:
        for line in [*self._lines, self._listener]:
            line.close()


@dataclass
class Relayed:
    """A relay in front of a server, and the port that devices call."""

    origin: Passthrough
    real: RealServer
    port: int

    def call(self) -> tuple[socket.socket, socket.socket]:
        """A device's line and the server's end of it."""
        device = socket.create_connection(("127.0.0.1", self.port), LIMIT_S)
        return device, self.real.take()


@pytest.fixture
def relayed() -> Iterator[Relayed]:
    real = RealServer()
    origin = Passthrough(MonotonicClock(), real.name)
    with origin.listen(("127.0.0.1", 0)) as url:
        yield Relayed(origin, real, port_of(url))
    real.close()


def receive(line: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = line.recv(size - len(data))
        assert piece, f"the line ended after {len(data)} bytes"
        data += piece
    return data


def flood(lines: list[socket.socket]) -> None:
    """Let the server send on every line as much as it can."""
    for line in lines:
        threading.Thread(target=_flood, args=(line,), daemon=True).start()


def _flood(line: socket.socket) -> None:
    with suppress(OSError):
        while True:
            line.sendall(OBJECT)


def test_both_directions_pass_as_they_are_and_are_counted_apart(relayed: Relayed) -> None:
    device, server = relayed.call()
    device.sendall(OBJECT[:1000])
    assert receive(server, 1000) == OBJECT[:1000]
    server.sendall(OBJECT)
    assert receive(device, len(OBJECT)) == OBJECT
    assert eventually(lambda: relayed.origin.ledger.payload_bytes() == len(OBJECT))
    assert eventually(lambda: relayed.origin.ledger.received_bytes == 1000)
    device.close()


def test_a_connection_is_one_entry_that_grows(relayed: Relayed) -> None:
    device, server = relayed.call()
    server.sendall(b"12345")
    receive(device, 5)
    entry = relayed.origin.ledger.entries()[0]
    assert (entry.method, entry.path, entry.payload) == ("TCP", relayed.real.name, True)
    assert eventually(lambda: entry.sent_bytes == 5)
    device.close()


def test_a_device_that_has_said_all_still_hears_the_answer(relayed: Relayed) -> None:
    device, server = relayed.call()
    device.sendall(b"all")
    device.shutdown(socket.SHUT_WR)
    assert until_the_end(server) == b"all"
    server.sendall(OBJECT)
    server.close()
    assert until_the_end(device) == OBJECT


def test_a_server_that_has_said_all_still_hears_the_device(relayed: Relayed) -> None:
    device, server = relayed.call()
    server.sendall(b"all")
    server.shutdown(socket.SHUT_WR)
    assert until_the_end(device) == b"all"
    device.sendall(OBJECT)
    device.close()
    assert until_the_end(server) == OBJECT
    assert eventually(lambda: lines_of(relayed.origin) == 0)


def test_what_one_of_them_tears_down_is_torn_down_for_the_other(relayed: Relayed) -> None:
    device, server = relayed.call()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    with pytest.raises(ConnectionResetError):
        device.recv(1)
    device, server = relayed.call()
    device.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    device.close()
    assert until_the_end(server) == b""


@pytest.mark.parametrize("seed", range(10))
def test_eight_connections_together_receive_exactly_what_the_gate_lets_through(relayed: Relayed, seed: int) -> None:
    count = Random(f"relay:{seed}").randint(1, 5_000_000)
    shut = gate(relayed.origin, payload_bytes=count)
    lines = [relayed.call() for _ in range(8)]
    received: list[int] = []
    readers = [
        threading.Thread(target=lambda device=device: received.append(len(until_the_end(device))), daemon=True)
        for device, _ in lines
    ]
    for reader in readers:
        reader.start()
    flood([server for _, server in lines])
    shut.await_shut()
    relayed.origin.drop_connections()
    for reader in readers:
        reader.join(LIMIT_S)
    assert (len(received), sum(received)) == (8, count)
    assert relayed.origin.ledger.payload_bytes() == count
    assert shut.calls == 1


def test_at_the_gate_all_bytes_arrive_and_the_line_stays_open(relayed: Relayed) -> None:
    shut = gate(relayed.origin, payload_bytes=70_001)
    device, server = relayed.call()
    flood([server])
    assert receive(device, 70_001) == OBJECT[:70_001]
    shut.await_shut()
    device.settimeout(0.1)
    with pytest.raises(TimeoutError):
        device.recv(1)


def test_the_gate_by_request_counts_connections(relayed: Relayed) -> None:
    shut = gate(relayed.origin, request=2)
    device, server = relayed.call()
    server.sendall(b"first")
    assert receive(device, 5) == b"first"
    with socket.create_connection(("127.0.0.1", relayed.port), LIMIT_S) as second:
        shut.await_shut()
        relayed.origin.drop_connections()
        assert until_the_end(second) == b""
    assert len(relayed.origin.ledger.entries()) == 1


@pytest.mark.parametrize("round_", range(20))
def test_dropping_eight_lines_in_the_middle_of_sending_neither_hangs_nor_leaves_threads(
    relayed: Relayed, round_: int
) -> None:
    before = origin_threads()
    lines = [relayed.call() for _ in range(8)]
    flood([server for _, server in lines])
    assert eventually(lambda: relayed.origin.ledger.payload_bytes() > 400_000 * round_)
    relayed.origin.drop_connections()
    assert eventually(lambda: lines_of(relayed.origin) == 0)
    assert eventually(lambda: origin_threads() <= before)
    assert all(until_the_end(server) == b"" for _, server in lines)
    assert relayed.origin.fault() is None


def test_a_dropped_resting_line_ends_on_both_sides(relayed: Relayed) -> None:
    device, server = relayed.call()
    assert eventually(lambda: lines_of(relayed.origin) == 1)
    relayed.origin.drop_connections()
    assert (device.recv(1), server.recv(1)) == (b"", b"")
    assert eventually(lambda: lines_of(relayed.origin) == 0)


def test_a_server_that_is_not_there_is_a_fault_of_the_rig() -> None:
    name = f"127.0.0.1:{free_port()}"
    origin = Passthrough(MonotonicClock(), name)
    with (
        origin.listen(("127.0.0.1", 0)) as url,
        pytest.raises(ConnectionResetError),
        socket.create_connection(("127.0.0.1", port_of(url)), LIMIT_S) as device,
    ):
        device.recv(1)
    assert "refused" in str(origin.fault())
    assert "refused" in origin.ledger.entries()[0].fault


def test_a_reset_tears_the_line_down_after_the_byte(relayed: Relayed) -> None:
    relayed.origin.arm(Gate(None), (Fault(Kind.RESET, byte=70_001),))
    device, server = relayed.call()
    flood([server])
    with pytest.raises(ConnectionResetError):
        receive(device, len(OBJECT))
    assert relayed.origin.ledger.payload_bytes() == 70_001


def test_a_truncated_answer_ends_in_order_at_the_byte(relayed: Relayed) -> None:
    relayed.origin.arm(Gate(None), (Fault(Kind.TRUNCATED, byte=70_001),))
    device, server = relayed.call()
    flood([server])
    assert until_the_end(device) == OBJECT[:70_001]


def test_a_relay_can_answer_nothing_itself(relayed: Relayed) -> None:
    with pytest.raises(UsageError, match="no answers"):
        relayed.origin.arm(Gate(None), (Fault(Kind.STATUS),))


def test_a_relay_speaks_no_tls_itself(relayed: Relayed, ca: RunCA) -> None:
    context = ca.context("127.0.0.1")
    with pytest.raises(UsageError, match="no TLS"), relayed.origin.listen(("127.0.0.1", 0), context):
        pass


@pytest.mark.parametrize(
    "server", ["real.example", ":443", "http://real.example:443", "a:0", "a:65536", "a:b", "::1:443"]
)
def test_what_is_no_host_and_port_is_the_users_to_mend(server: str) -> None:
    with pytest.raises(UsageError, match="origin: relay"):
        Passthrough(MonotonicClock(), server)


# nginx, whose certificate nobody here could replace


@dataclass(frozen=True)
class Pinned:
    """A server with a key of its own behind a relay."""

    origin: Passthrough
    url: str
    ca: Path
    pin: str


@pytest.fixture
def pinned(nginx: Callable[..., int], tmp_path: Path) -> Iterator[Pinned]:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "release.bin").write_bytes(OBJECT)
    vendor = trustme.CA()
    leaf = vendor.issue_cert("update.example")
    pair, pem = tmp_path / "pair.pem", tmp_path / "vendor.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(str(pair))
    vendor.cert_pem.write_to_path(str(pem))
    public = subprocess.run(
        ["openssl", "pkey", "-in", pair, "-pubout", "-outform", "DER"], check=True, capture_output=True
    )
    pin = "sha256//" + base64.b64encode(hashlib.sha256(public.stdout).digest()).decode()
    origin = Passthrough(MonotonicClock(), f"127.0.0.1:{nginx(tmp_path / 'www', pair)}")
    with origin.listen(("127.0.0.1", 0), called="https://update.example:{port}") as url:
        yield Pinned(origin, url, pem, pin)


def curl(pinned: Pinned, *options: str | Path, pin: str | None = None) -> list[str | Path]:
    place = f"update.example:{port_of(pinned.url)}:127.0.0.1:"
    trust: list[str | Path] = ["--cacert", pinned.ca, "--pinnedpubkey", pin or pinned.pin]
    return [*CURL, *trust, "--connect-to", place, *options, f"{pinned.url}/release.bin"]


def test_a_device_that_pins_the_servers_key_is_content(pinned: Pinned) -> None:
    got = subprocess.run(curl(pinned), check=True, capture_output=True, timeout=20)
    assert got.stdout == OBJECT
    ledger = pinned.origin.ledger
    assert eventually(lambda: lines_of(pinned.origin) == 0)
    assert len(OBJECT) < ledger.payload_bytes() < len(OBJECT) + 10_000
    assert 300 < ledger.received_bytes < 5_000


def test_a_device_that_pins_another_key_is_not(pinned: Pinned) -> None:
    wrong = "sha256//" + base64.b64encode(bytes(32)).decode()
    got = subprocess.run(curl(pinned, pin=wrong), check=False, capture_output=True, timeout=20)
    assert got.returncode == 90  # CURLE_SSL_PINNEDPUBKEYNOTMATCH


def test_a_download_is_cut_at_a_byte_of_the_ciphertext_and_resumes(pinned: Pinned, tmp_path: Path) -> None:
    count, got = 123_457, tmp_path / "got"
    shut = gate(pinned.origin, payload_bytes=count)
    with subprocess.Popen(curl(pinned, "--no-buffer", "-o", got), stderr=subprocess.PIPE) as device:
        shut.await_shut()
        assert pinned.origin.ledger.payload_bytes() == count
        pinned.origin.drop_connections()
        assert device.wait(20) in (18, 56)  # CURLE_PARTIAL_FILE, CURLE_RECV_ERROR
    assert OBJECT.startswith(got.read_bytes())
    assert count - 40_000 < got.stat().st_size < count
    subprocess.run(curl(pinned, "-C", "-", "-o", got), check=True, timeout=20)
    assert got.read_bytes() == OBJECT
