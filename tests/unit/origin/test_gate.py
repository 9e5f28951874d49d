"""The byte gate: exact over all connections together, as the receivers count."""

from __future__ import annotations

import socket
import threading
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.origin.gate import Gate, Limit

from .conftest import LIMIT_S, OBJECT, PATHS, GateUnderTest, Receivers, Served, eventually, lines_of, until_the_end


@pytest.mark.parametrize("seed", range(20))
def test_eight_connections_together_receive_exactly_what_the_gate_lets_through(objects: Served, seed: int) -> None:
    rng = Random(f"gate:{seed}")
    count = rng.randint(1, 2_000_000)
    gate = objects.gate(payload_bytes=count)
    receivers = Receivers(objects.port, PATHS, rng)
    gate.await_shut()
    objects.origin.drop_connections()
    assert receivers.finish() == count
    assert objects.origin.ledger.payload_bytes() == count
    assert gate.calls == 1


def test_a_shut_gate_keeps_every_line_open(objects: Served) -> None:
    gate = objects.gate(payload_bytes=100_000)
    receivers = Receivers(objects.port, PATHS, Random(1))
    gate.await_shut()
    assert eventually(lambda: receivers.received_bytes == 100_000)
    assert eventually(lambda: lines_of(objects.origin) == 8)


def test_what_is_no_payload_passes_a_shut_gate(objects: Served) -> None:
    objects.gate(payload_bytes=1)
    Receivers(objects.port, ["/objects/00"], Random(1), connections=1)
    assert objects.get("/config").body == b"mode=archive\n"


def test_a_gate_behind_the_last_byte_of_a_release_shuts_when_all_of_it_was_sent(served: Served) -> None:
    gate = served.gate(payload_bytes=len(OBJECT))
    assert served.get("/objects/big").body == OBJECT
    gate.await_shut()


def test_a_gate_that_is_never_reached_stays_open(served: Served) -> None:
    gate = served.gate(payload_bytes=len(OBJECT) + 1)
    assert served.get("/objects/big").body == OBJECT
    assert not gate.gate.holds
    assert gate.calls == 0


def test_a_gate_by_request_gives_the_answers_before_it_whole_and_no_byte_of_its_own(objects: Served) -> None:
    gate = objects.gate(request=3)
    receivers = Receivers(objects.port, PATHS, Random(2), connections=1)
    gate.await_shut()
    objects.origin.drop_connections()
    whole = [entry.whole_bytes for entry in objects.origin.ledger.entries()]
    assert len(whole) == 2
    assert receivers.finish() == sum(whole)


def test_a_gate_by_request_does_not_count_what_is_no_payload(objects: Served) -> None:
    gate = objects.gate(request=1)
    assert objects.get("/config").status == 200
    assert objects.get("/objects/00", "HEAD").status == 200
    assert objects.get("/objects/nowhere").status == 404
    assert not gate.gate.holds


def test_a_gate_at_a_byte_of_a_named_object_shuts_there_and_not_in_others(objects: Served) -> None:
    gate = objects.gate(name="/big$", byte=70_001)
    receivers = Receivers(objects.port, [*PATHS[:3], "/objects/big"], Random(3), connections=1)
    gate.await_shut()
    objects.origin.drop_connections()
    receivers.finish()
    sent = {entry.path: entry.sent_bytes for entry in objects.origin.ledger.entries()}
    assert sent.pop("/objects/big") == 70_001
    assert all(sent[path] == (objects.root / path[1:]).stat().st_size for path in sent)


def test_who_asks_for_what_lies_behind_the_byte_of_a_named_object_is_not_held(served: Served) -> None:
    served.gate(name="/big$", byte=1000)
    assert served.get("/objects/big", Range="bytes=1001-").body == OBJECT[1001:]


def test_after_a_lift_the_waiting_line_ends_and_the_next_one_gets_everything(served: Served) -> None:
    gate = served.gate(payload_bytes=5000)
    receivers = Receivers(served.port, ["/objects/big"], Random(4), connections=1)
    gate.await_shut()
    gate.gate.lift()
    assert receivers.finish() == 5000
    assert served.get("/objects/big").body == OBJECT


def test_a_gate_that_is_lifted_while_it_dwells_never_calls(served: Served) -> None:
    gate = served.gate(payload_bytes=5000, dwell_s=0.2)
    receivers = Receivers(served.port, ["/objects/big"], Random(4), connections=1)
    assert eventually(lambda: gate.gate.holds)
    served.origin.drop_connections()
    receivers.finish()
    assert not gate._called.wait(0.4)


def test_dropped_connections_end_and_new_ones_are_served(served: Served) -> None:
    gate = served.gate(payload_bytes=5000)
    receivers = Receivers(served.port, ["/objects/big"], Random(5), connections=8)
    gate.await_shut()
    served.origin.drop_connections()
    assert receivers.finish() == 5000
    assert served.get("/objects/big").body == OBJECT
    assert gate.calls == 1


def test_a_connection_that_was_not_accepted_yet_is_dropped_with_the_others(served: Served) -> None:
    served.gate(payload_bytes=0)
    dropping = threading.Thread(target=served.origin.drop_connections)
    with served.origin._lock:
        dropping.start()  # the first to get the lock; whoever accepts the connection is the second
        line = socket.create_connection(("127.0.0.1", served.port), LIMIT_S)
        line.sendall(b"GET /objects/big HTTP/1.1\r\nHost: origin\r\n\r\n")
    with line:
        assert len(until_the_end(line)) < 200
    dropping.join(LIMIT_S)
    assert served.origin.ledger.payload_bytes() == 0
    assert served.get("/objects/big").body == OBJECT


def test_the_gate_shuts_only_after_the_last_granted_byte_was_sent() -> None:
    gate = GateUnderTest(payload_bytes=100).gate
    assert (gate.ask("/a", 0, 60), gate.ask("/b", 0, 60), gate.ask("/a", 60, 1)) == (60, 40, 0)
    gate.sent(60)
    assert not gate.holds
    gate.sent(40)
    assert gate.holds


@given(
    st.integers(0, 5000),
    st.lists(st.tuples(st.integers(0, 7), st.integers(1, 1000)), min_size=1, max_size=60),
)
def test_no_order_of_asking_and_sending_lets_more_through(limit: int, asked: list[tuple[int, int]]) -> None:
    gate = GateUnderTest(payload_bytes=limit, dwell_s=0.0).gate
    granted = [gate.ask(f"/{line}", 0, wanted) for line, wanted in asked]
    assert sum(granted) == gate.granted_bytes == min(limit, sum(wanted for _, wanted in asked))
    assert gate.holds == (limit == 0)
    gate.sent(sum(granted))
    assert gate.holds == (limit <= sum(wanted for _, wanted in asked))


@pytest.mark.parametrize(
    "given", [pytest.param({}, id="none"), pytest.param({"payload_bytes": 1, "request": 1}, id="two")]
)
def test_a_limit_is_of_exactly_one_kind(given: dict[str, int]) -> None:
    with pytest.raises(AssertionError):
        Limit(**given)  # type: ignore[arg-type]


def test_a_gate_without_a_limit_lets_everything_through() -> None:
    gate = Gate(None)
    assert gate.answer()
    assert gate.ask("/a", 0, 1 << 40) == 1 << 40
    assert not gate.holds
