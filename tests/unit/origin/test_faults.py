"""The failures of real servers and lines, as a client meets them."""

from __future__ import annotations

import socket

import pytest

from powercut.origin.content import Content
from powercut.origin.faults import Fault, Kind
from powercut.origin.gate import Gate
from powercut.origin.server import Origin

from .conftest import LIMIT_S, OBJECT, GateUnderTest, Served

BYTE = 70_001


def arm(served: Served, *faults: Fault) -> None:
    served.origin.arm(Gate(None), faults)


def ask(served: Served) -> socket.socket:
    """A line on which the object was asked for and the head of the answer was read."""
    line = socket.create_connection(("127.0.0.1", served.port), LIMIT_S)
    line.sendall(b"GET /objects/big HTTP/1.1\r\nHost: origin\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += line.recv(1)
    return line


def receive(line: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes."""
    data = b""
    while len(data) < size:
        piece = line.recv(size - len(data))
        assert piece, f"the line ended after {len(data)} bytes"
        data += piece
    return data


def test_a_truncated_answer_ends_in_order_at_the_byte(served: Served) -> None:
    arm(served, Fault(Kind.TRUNCATED, byte=BYTE))
    answer = served.get("/objects/big")
    assert answer.body == OBJECT[:BYTE]
    assert answer.headers["Content-Length"] == str(len(OBJECT))


def test_a_reset_tears_the_line_down_after_the_byte(served: Served) -> None:
    arm(served, Fault(Kind.RESET, byte=BYTE))
    with ask(served) as line, pytest.raises(ConnectionResetError):
        receive(line, len(OBJECT))
    assert served.origin.ledger.payload_bytes() == BYTE


def test_a_stall_sends_up_to_the_byte_and_keeps_the_line_open(served: Served) -> None:
    arm(served, Fault(Kind.STALL, byte=BYTE))
    with ask(served) as line:
        assert receive(line, BYTE) == OBJECT[:BYTE]
        line.settimeout(0.1)
        with pytest.raises(TimeoutError):
            line.recv(1)


def test_a_stall_ends_with_the_dropping_of_all_connections(served: Served) -> None:
    arm(served, Fault(Kind.STALL, byte=BYTE))
    with ask(served) as line:
        receive(line, BYTE)
        served.origin.drop_connections()
        assert line.recv(1) == b""


def test_a_wrong_byte_is_the_only_difference(served: Served) -> None:
    arm(served, Fault(Kind.WRONG_BYTE, byte=BYTE))
    body = served.get("/objects/big").body
    assert body[:BYTE] + body[BYTE + 1 :] == OBJECT[:BYTE] + OBJECT[BYTE + 1 :]
    assert body[BYTE] == OBJECT[BYTE] ^ 1


def test_a_wrong_byte_outside_the_asked_range_does_nothing(served: Served) -> None:
    arm(served, Fault(Kind.WRONG_BYTE, byte=BYTE))
    assert served.get("/objects/big", Range=f"bytes={BYTE + 1}-").body == OBJECT[BYTE + 1 :]


def test_a_status_is_answered_without_a_body(served: Served) -> None:
    arm(served, Fault(Kind.STATUS, code=500))
    answer = served.get("/objects/big")
    assert (answer.status, answer.body) == (500, b"")
    assert served.origin.ledger.payload_bytes() == 0


class Rested:
    """A clock that lets time pass at once and adds it up."""

    def __init__(self) -> None:
        self.total_s = 0.0

    def now(self) -> float:
        return self.total_s

    def rest(self, seconds: float) -> None:
        self.total_s += seconds


def test_a_slow_answer_takes_its_size_over_its_rate(served: Served) -> None:
    clock = Rested()
    slow = Origin(clock)
    slow.offer(Content(served.root))
    slow.arm(Gate(None), (Fault(Kind.SLOW, bytes_per_s=50_000),))
    with slow.listen(("127.0.0.1", 0)) as url:
        assert Served(slow, served.root, int(url.rsplit(":", 1)[1])).get("/objects/big").body == OBJECT
    assert clock.total_s == pytest.approx(len(OBJECT) / 50_000)
    assert max(piece.size for piece in slow.ledger.pieces()) == 5_000


def test_a_fault_is_used_up_by_the_answers_that_it_met(served: Served) -> None:
    arm(served, Fault(Kind.STATUS, times=2))
    assert [served.get("/objects/big").status for _ in range(3)] == [503, 503, 200]


def test_a_fault_without_a_count_never_ends(served: Served) -> None:
    arm(served, Fault(Kind.STATUS, times=0))
    assert {served.get("/objects/big").status for _ in range(5)} == {503}


def test_a_fault_meets_the_paths_that_it_names_and_no_others(served: Served) -> None:
    arm(served, Fault(Kind.STATUS, path="/big$"))
    assert served.get("/config").status == 200
    assert served.get("/objects/big").status == 503


def test_faults_meet_in_the_order_in_which_they_were_given(served: Served) -> None:
    arm(served, Fault(Kind.STATUS, code=500), Fault(Kind.STATUS, code=502))
    assert [served.get("/objects/big").status for _ in range(3)] == [500, 502, 200]


def test_a_fault_is_in_the_ledger(served: Served) -> None:
    arm(served, Fault(Kind.TRUNCATED, path="big", byte=10))
    served.get("/objects/big")
    entry = served.origin.ledger.entries()[0]
    assert (entry.fault, entry.sent_bytes) == ("truncated of big", 10)


def test_a_gate_stays_exact_when_an_answer_is_spoilt(served: Served) -> None:
    gate = GateUnderTest(payload_bytes=1000)
    served.origin.arm(gate.gate, (Fault(Kind.WRONG_BYTE, byte=3),))
    with ask(served) as line:
        gate.await_shut()
        assert receive(line, 1000)[3] == OBJECT[3] ^ 1
