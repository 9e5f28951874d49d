"""The byte gate, counted by the device itself."""

from __future__ import annotations

import threading
from random import Random

import pytest

from powercut.origin.gate import Gate, Limit
from powercut.rig import Rig

SEED = 20
DELTA_BYTES_AT_LEAST = 6_000_000


@pytest.mark.parametrize("count", [Random(SEED + number).randrange(1, DELTA_BYTES_AT_LEAST) for number in range(3)])
def test_the_device_receives_exactly_the_bytes_that_the_gate_grants(reference: Rig, count: int) -> None:
    shut = threading.Event()
    with reference.known(Random(count)):
        reference.offer(reference.setup.release("next"))
        reference.origin.arm(Gate(Limit(payload_bytes=count), shut.set))
        fetch = (
            f"curl -s --max-time 8 -o /run/received {reference.url}/delta-files/1.0-1.1.delta; stat -c %s /run/received"
        )
        received = reference.device.run(fetch).text

    assert shut.is_set()
    assert int(received) == count
