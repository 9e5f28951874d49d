"""An origin that is called over TLS: verified by the run's CA, exact at the gate, cut without a word."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path
from random import Random

import pytest

from powercut.clock import MonotonicClock
from powercut.errors import UsageError
from powercut.origin import line
from powercut.origin.content import Content
from powercut.origin.faults import Fault, Kind
from powercut.origin.gate import Gate
from powercut.origin.server import Origin
from powercut.origin.tls import RunCA

from .conftest import (
    LIMIT_S,
    OBJECT,
    PATHS,
    Receivers,
    Served,
    connected,
    eventually,
    fill,
    lines_of,
    origin_threads,
    port_of,
    until_the_end,
)

CURL = ["curl", "-sS", "--max-time", "20"]
BYTE = 70_001


@pytest.fixture
def trusted(ca: RunCA, tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.write_text(ca.pem)
    return file


def ask(served: Served) -> ssl.SSLSocket:
    """A line on which the object was asked for and the head of the answer was read; an end without farewell is told."""
    assert served.tls is not None
    raw = socket.create_connection(("127.0.0.1", served.port), LIMIT_S)
    secure = served.tls.wrap_socket(raw, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
    secure.sendall(b"GET /objects/big HTTP/1.1\r\nHost: origin\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += secure.recv(1)
    return secure


def receive(secure: ssl.SSLSocket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = secure.recv(size - len(data))
        assert piece, f"the line ended after {len(data)} bytes"
        data += piece
    return data


def test_a_client_that_trusts_the_runs_ca_is_served(secured: Served, trusted: Path) -> None:
    url = f"https://127.0.0.1:{secured.port}/objects/big"
    got = subprocess.run([*CURL, "--cacert", trusted, url], check=True, capture_output=True, timeout=20)
    assert got.stdout == OBJECT


def test_a_client_that_does_not_trust_it_refuses_and_the_ledger_says_so(secured: Served) -> None:
    url = f"https://127.0.0.1:{secured.port}/objects/big"
    assert subprocess.run([*CURL, url], check=False, capture_output=True, timeout=20).returncode == 60
    assert eventually(secured.origin.ledger.entries)
    entry = secured.origin.ledger.entries()[0]
    assert (entry.method, entry.payload, entry.sent_bytes) == ("TLS", False, 0)
    assert "UNKNOWN_CA" in entry.fault


@pytest.mark.parametrize(
    ("name", "code"), [pytest.param("board.example", 0, id="its own"), pytest.param("other.example", 60, id="another")]
)
def test_the_certificate_is_for_the_names_that_were_asked_for(
    ca: RunCA, trusted: Path, tmp_path: Path, name: str, code: int
) -> None:
    origin = Origin(MonotonicClock())
    origin.offer(Content(tmp_path, {"/ref": b"newest\n"}))
    with origin.listen(("127.0.0.1", 0), ca.context("board.example", "127.0.0.1")) as url:
        place = f"{name}:{port_of(url)}"
        command = [*CURL, "--cacert", str(trusted), "--connect-to", f"{place}:127.0.0.1:", f"https://{place}/ref"]
        assert subprocess.run(command, check=False, capture_output=True, timeout=20).returncode == code


def test_a_certificate_for_what_is_no_name_is_the_users_to_mend(ca: RunCA) -> None:
    with pytest.raises(UsageError, match="no certificate for"):
        ca.context("a name")


def test_two_runs_trust_each_others_certificates_not(secured: Served) -> None:
    stranger = ssl.create_default_context(cadata=RunCA().pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        connected(secured.port, stranger)


def test_no_private_key_is_in_what_the_device_gets_or_in_a_folder(ca: RunCA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert ca.context("127.0.0.1").cert_store_stats()["x509"] == 0
    assert "PRIVATE" not in ca.pem


def test_an_origin_is_called_as_the_environment_says(ca: RunCA) -> None:
    with Origin(MonotonicClock()).listen(("127.0.0.1", 0), called="{scheme}://board.example:{port}/") as url:
        assert url == f"http://board.example:{port_of(url)}"
    with Origin(MonotonicClock()).listen(("127.0.0.1", 0), ca.context("127.0.0.1")) as url:
        assert url == f"https://127.0.0.1:{port_of(url)}"


def test_who_connects_and_says_nothing_holds_nobody_up(secured: Served) -> None:
    silent = [socket.create_connection(("127.0.0.1", secured.port), LIMIT_S) for _ in range(3)]
    assert secured.get("/objects/big").body == OBJECT
    for one in silent:
        one.close()


def test_who_says_nothing_is_hung_up_on(secured: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "HANDSHAKE_LIMIT_S", 0.1)
    with socket.create_connection(("127.0.0.1", secured.port), LIMIT_S) as silent:
        assert silent.recv(1) == b""


def test_who_speaks_no_tls_is_hung_up_on_and_in_the_ledger(secured: Served) -> None:
    with socket.create_connection(("127.0.0.1", secured.port), LIMIT_S) as plain:
        plain.sendall(b"GET /ref HTTP/1.1\r\nHost: origin\r\n\r\n")
        assert b"newest" not in until_the_end(plain)
    assert "HTTP_REQUEST" in secured.origin.ledger.entries()[0].fault


@pytest.mark.parametrize("seed", range(10))
def test_eight_connections_together_receive_exactly_what_the_gate_lets_through(secured: Served, seed: int) -> None:
    fill(secured)
    rng = Random(f"tls:{seed}")
    count = rng.randint(1, 2_000_000)
    gate = secured.gate(payload_bytes=count)
    receivers = Receivers(secured.port, PATHS, rng, tls=secured.tls)
    gate.await_shut()
    secured.origin.drop_connections()
    assert receivers.finish() == count
    assert secured.origin.ledger.payload_bytes() == count
    assert gate.calls == 1


def test_at_a_shut_gate_all_bytes_arrive_while_the_line_is_open(secured: Served) -> None:
    secured.gate(payload_bytes=BYTE)
    with ask(secured) as secure:
        assert receive(secure, BYTE) == OBJECT[:BYTE]
        secure.settimeout(0.1)
        with pytest.raises(TimeoutError):
            secure.recv(1)


def test_a_dropped_line_says_no_farewell(secured: Served) -> None:
    gate = secured.gate(payload_bytes=BYTE)
    with ask(secured) as secure:
        gate.await_shut()
        secured.origin.drop_connections()
        receive(secure, BYTE)
        with pytest.raises(ssl.SSLEOFError):
            secure.recv(1)


def test_an_answer_that_ends_the_line_says_farewell(secured: Served) -> None:
    with ask(secured) as secure:
        receive(secure, len(OBJECT))
        secure.sendall(b"GET /ref HTTP/1.0\r\nConnection: close\r\n\r\n")
        with secure.makefile("rb") as rest:
            assert rest.read().endswith(b"newest\n")


def test_a_truncated_answer_ends_in_order_at_the_byte(secured: Served) -> None:
    secured.origin.arm(Gate(None), (Fault(Kind.TRUNCATED, byte=BYTE),))
    with ask(secured) as secure:
        assert receive(secure, BYTE) == OBJECT[:BYTE]
        assert secure.recv(1) == b""


def test_a_reset_tears_the_line_down_after_the_byte(secured: Served, trusted: Path) -> None:
    secured.origin.arm(Gate(None), (Fault(Kind.RESET, byte=BYTE),))
    command = [*CURL, "--cacert", str(trusted), f"https://127.0.0.1:{secured.port}/objects/big"]
    got = subprocess.run(command, check=False, capture_output=True, timeout=20)
    assert b"reset by peer" in got.stderr
    assert secured.origin.ledger.payload_bytes() == BYTE


def test_a_stall_ends_with_the_dropping_of_all_connections(secured: Served) -> None:
    secured.origin.arm(Gate(None), (Fault(Kind.STALL, byte=BYTE),))
    with ask(secured) as secure:
        assert receive(secure, BYTE) == OBJECT[:BYTE]
        secure.settimeout(0.1)
        with pytest.raises(TimeoutError):
            secure.recv(1)
        secured.origin.drop_connections()
        secure.settimeout(LIMIT_S)
        with pytest.raises(ssl.SSLEOFError):
            secure.recv(1)


def test_a_wrong_byte_passes_tls(secured: Served) -> None:
    secured.origin.arm(Gate(None), (Fault(Kind.WRONG_BYTE, byte=BYTE),))
    assert secured.get("/objects/big").body[BYTE] == OBJECT[BYTE] ^ 1


@pytest.mark.parametrize("round_", range(20))
def test_dropping_eight_lines_in_the_middle_of_sending_neither_hangs_nor_leaves_threads(
    secured: Served, round_: int
) -> None:
    before = origin_threads()
    secured.put("objects/huge", bytes(4_000_000))
    paths = [f"/objects/huge?{number}" for number in range(50)]
    receivers = Receivers(secured.port, paths, Random(round_), tls=secured.tls)
    assert eventually(lambda: receivers.received_bytes > 1_000_000 + 400_000 * round_)
    dropping = threading.Thread(target=secured.origin.drop_connections, daemon=True)
    dropping.start()
    dropping.join(LIMIT_S)
    assert not dropping.is_alive()
    receivers.finish()
    assert eventually(lambda: lines_of(secured.origin) == 0)
    assert eventually(lambda: origin_threads() <= before)


def test_a_line_is_dropped_in_the_middle_of_its_handshake(secured: Served) -> None:
    with socket.create_connection(("127.0.0.1", secured.port), LIMIT_S) as silent:
        assert eventually(lambda: lines_of(secured.origin) == 1)
        secured.origin.drop_connections()
        assert silent.recv(1) == b""
    assert secured.origin.ledger.entries() == []


def test_a_line_is_kept_for_the_next_request(secured: Served) -> None:
    line = connected(secured.port, secured.tls)
    assert _read(line, "/ref") == b"newest\n"
    assert _read(line, "/objects/big") == OBJECT
    line.close()


def _read(line: http.client.HTTPConnection, path: str) -> bytes:
    line.request("GET", path)
    return line.getresponse().read()
