"""Which accelerator works, found by running a boot sector."""

from __future__ import annotations

import pytest

from powercut.lab.accel import TCG, reaches_guest

QEMU = "qemu-system-x86_64"


def test_emulation_reaches_the_guest() -> None:
    assert reaches_guest(QEMU, TCG, "q35", "qemu64", 20.0)


@pytest.mark.parametrize(
    ("binary", "accel", "machine", "limit_s"),
    [
        pytest.param(QEMU, "warp", "q35", 20.0, id="no such accelerator"),
        pytest.param(QEMU, TCG, "toaster", 20.0, id="no such machine"),
        pytest.param("qemu-system-abacus", TCG, "q35", 20.0, id="no such QEMU"),
        pytest.param(QEMU, TCG, "q35", 0.01, id="not in time"),
    ],
)
def test_what_can_not_run_does_not_reach_the_guest(binary: str, accel: str, machine: str, limit_s: float) -> None:
    assert not reaches_guest(binary, accel, machine, "qemu64", limit_s)
