"""Every request and every byte, by phase."""

from __future__ import annotations

import json
from pathlib import Path

from powercut.clock import MonotonicClock

from .conftest import OBJECT, Served


def test_requests_belong_to_the_phase_in_which_they_came(served: Served) -> None:
    ledger = served.origin.ledger
    ledger.phase = "update"
    served.get("/objects/big", Range="bytes=0-99")
    ledger.phase = "retry"
    served.get("/objects/big", Range="bytes=100-349")
    assert (ledger.payload_bytes("update"), ledger.payload_bytes("retry")) == (100, 250)
    assert ledger.payload_bytes() == 350
    assert [entry.first_byte for entry in ledger.entries("retry")] == [100]


def test_only_payload_counts(served: Served) -> None:
    served.get("/config")
    served.get("/objects/nowhere")
    ledger = served.origin.ledger
    assert ledger.payload_bytes() == 0
    assert [(entry.path, entry.status, entry.payload, entry.sent_bytes) for entry in ledger.entries()] == [
        ("/config", 200, False, 13),
        ("/objects/nowhere", 404, False, 0),
    ]


def test_pieces_add_up_to_what_was_sent_and_are_in_order(served: Served) -> None:
    served.get("/objects/big")
    pieces = served.origin.ledger.pieces()
    assert sum(piece.size for piece in pieces) == len(OBJECT)
    assert [piece.at_s for piece in pieces] == sorted(piece.at_s for piece in pieces)


def test_what_had_been_sent_until_a_moment_is_told(served: Served) -> None:
    served.get("/objects/big", Range="bytes=0-99")
    between_s = MonotonicClock().now()
    served.get("/objects/big")
    ledger = served.origin.ledger
    assert ledger.payload_bytes_until(between_s) == 100
    assert ledger.payload_bytes_until(MonotonicClock().now()) == 100 + len(OBJECT)
    assert ledger.payload_bytes_until(0.0) == 0


def test_it_is_written_as_one_object_per_line(served: Served, tmp_path: Path) -> None:
    served.get("/objects/big", Range="bytes=-7")
    served.get("/ref")
    served.origin.ledger.write(tmp_path / "ledger.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines] == ["/objects/big", "/ref"]
    assert lines[0].items() >= {
        "phase": "idle", "method": "GET", "status": 206, "first_byte": len(OBJECT) - 7, "payload": True,
        "sent_bytes": 7, "whole_bytes": 7, "fault": "",
    }.items()  # fmt: skip
