"""The order in which an answer's bytes are granted, sent and told."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from powercut.clock import MonotonicClock
from powercut.origin.ledger import Ledger
from powercut.origin.line import Line, LineOver
from powercut.origin.passage import Passage

from .conftest import LIMIT_S, OBJECT, GateUnderTest

CLOCK = MonotonicClock()


@pytest.fixture
def line() -> Iterator[tuple[Line, socket.socket]]:
    """A line, and the device's end of it."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(LIMIT_S)
    with ours, theirs:
        yield Line(ours), theirs


def passage(line: Line, ledger: Ledger, gate: GateUnderTest, frame: Callable[[bytes], bytes]) -> Passage:
    entry = ledger.open("GET", "/objects/big", 200, 0, True, len(OBJECT))
    return Passage(line, entry, ledger, gate.gate, None, CLOCK, frame)


def test_the_gate_shuts_not_before_the_last_byte_is_with_the_kernel(line: tuple[Line, socket.socket]) -> None:
    gate, held = GateUnderTest(payload_bytes=10, dwell_s=0.0), []

    def frame(data: bytes) -> bytes:
        held.append(gate.gate.holds)
        return data

    way = passage(line[0], Ledger(CLOCK), gate, frame)
    way.send(OBJECT[:10])
    assert (held, gate.gate.holds) == ([False], True)
    assert line[1].recv(100) == OBJECT[:10]


def test_what_the_protocol_adds_is_not_counted(line: tuple[Line, socket.socket]) -> None:
    gate, ledger = GateUnderTest(payload_bytes=4), Ledger(CLOCK)
    way = passage(line[0], ledger, gate, lambda data: b"<" + data + b">")
    way.send(b"12")
    way.send(b"34")
    assert line[1].recv(100) == b"<12><34>"
    assert ledger.payload_bytes() == 4


def test_bytes_whose_line_broke_are_not_in_the_ledger_and_keep_no_gate_from_shutting(
    line: tuple[Line, socket.socket],
) -> None:
    gate, ledger = GateUnderTest(payload_bytes=4), Ledger(CLOCK)
    way = passage(line[0], ledger, gate, bytes)
    line[1].close()
    with pytest.raises(OSError):
        way.send(b"1234")
    assert ledger.payload_bytes() == 0
    gate.await_shut()


def test_an_answer_goes_on_when_the_gate_was_lifted(line: tuple[Line, socket.socket]) -> None:
    gate = GateUnderTest(payload_bytes=4)
    way = passage(line[0], Ledger(CLOCK), gate, bytes)
    way.send(b"1234")
    gate.await_shut()
    gate.gate.lift()
    way.send(b"5")
    assert line[1].recv(100) == b"12345"


def test_an_answer_that_waited_at_the_gate_is_over(
    line: tuple[Line, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = GateUnderTest(payload_bytes=4)
    monkeypatch.setattr(gate.gate, "wait", lambda _limit_s: None)
    with pytest.raises(LineOver):
        passage(line[0], Ledger(CLOCK), gate, bytes).send(b"12345")
    assert line[1].recv(100) == b"1234"
