"""curl, a client that is not ours, meets the origin."""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random

import pytest

from powercut.clock import MonotonicClock
from powercut.origin.content import Content
from powercut.origin.server import Origin

from .conftest import OBJECT, Served, eventually

CURL = ["curl", "-sS", "--max-time", "20"]


@pytest.mark.parametrize("seed", range(3))
def test_curl_resumes_at_the_byte_at_which_the_gate_cut_it_off(served: Served, tmp_path: Path, seed: int) -> None:
    count = Random(f"curl:{seed}").randint(1, len(OBJECT) - 1)
    file, url = tmp_path / "got", f"http://127.0.0.1:{served.port}/objects/big"
    gate = served.gate(payload_bytes=count)
    with subprocess.Popen([*CURL, "--no-buffer", "-o", file, url], stderr=subprocess.PIPE) as curl:
        gate.await_shut()
        served.origin.drop_connections()
        assert curl.wait(20) == 18  # CURLE_PARTIAL_FILE
    assert file.read_bytes() == OBJECT[:count]
    subprocess.run([*CURL, "-C", "-", "-o", file, url], check=True, timeout=20)
    assert file.read_bytes() == OBJECT
    assert eventually(lambda: served.origin.ledger.payload_bytes() == len(OBJECT))


def test_curl_fetches_over_a_unix_socket(tmp_path: Path) -> None:
    origin = Origin(MonotonicClock())
    origin.offer(Content(tmp_path, {"/ref": b"newest\n"}))
    with origin.listen(tmp_path / "origin.sock") as place:
        got = subprocess.run(
            [*CURL, "--unix-socket", place, "http://origin/ref"], check=True, capture_output=True, timeout=20
        )
    assert got.stdout == b"newest\n"
