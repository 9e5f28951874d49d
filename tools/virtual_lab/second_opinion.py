"""A pytest plugin for runs on a rack (`-p tools.virtual_lab.second_opinion`): it checks the judge that boards have.

After each test with a trial, the host's judge looks at the board's disk as well, and the test fails where that
contradicts what the board said of itself. `POWERCUT_RACK` is the rack's folder, `POWERCUT_RACK_JUDGE` the environment
of the same device in QEMU, whose client and releases the host judges by.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from labgrid import Environment

from powercut.clients import client_of
from powercut.disk.blocks import open_blocks
from powercut.environment import Setup
from powercut.harness import Powercut
from powercut.lab.saves import cache_folder
from powercut.model import Boot, DiskView
from powercut.rig import setup_of
from powercut.trial import Trial

from .client import Lab

RACK, JUDGE = "POWERCUT_RACK", "POWERCUT_RACK_JUDGE"
CONVERTS_WITHIN_S = 300.0
_seen: set[int] = set()


def looked_at(lab: Lab, board: str, setup: Setup) -> DiskView:
    """What the host finds on a board's disk as it now is."""
    with TemporaryDirectory(prefix="powercut-second-opinion-") as name:
        overlay, raw = Path(name) / "disk.qcow2", Path(name) / "disk.raw"
        lab.snapshot(board, overlay)
        line = ["qemu-img", "convert", "-O", "raw", str(overlay), str(raw)]
        subprocess.run(line, check=True, timeout=CONVERTS_WITHIN_S)
        with open_blocks(raw) as blocks:
            return client_of(setup).judge(raw, cache_folder() / "manifests", Path(name)).look(blocks)


def contradiction(boot: Boot, view: DiskView) -> str | None:
    """Where a board's account of what runs, and the host's of what its disk boots, can't both be true."""
    found = view.chosen
    if found is None:
        return f"the board runs {boot.release}; on its disk no system can be told to boot: {view.problems}"
    if found.release != boot.release:
        return f"the board runs {boot.release}; its disk boots {found.release}"
    if (boot.differing == 0) != (found.differing == 0):
        return (
            f"the board says {boot.differing} paths differ, its disk {found.differing}: {found.differs}{boot.differs}"
        )
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Ask the host before the test lets go of the board."""
    powercut = getattr(item, "funcargs", {}).get("powercut")
    found = _contradicted(powercut) if isinstance(powercut, Powercut) else None
    yield
    if found is not None:
        pytest.fail(f"second opinion: {found}", pytrace=False)


def _contradicted(powercut: Powercut) -> str | None:
    trial = powercut.used[-1] if powercut.used else None
    if trial is None or id(trial) in _seen or powercut.set_aside is not None:
        return None
    _seen.add(id(trial))
    boot = _last_boot(trial)
    if boot is None:
        return None
    return contradiction(boot, looked_at(Lab(Path(os.environ[RACK])), powercut.rig.device.power.place, _setup()))


def _last_boot(trial: Trial) -> Boot | None:
    """The last start of a trial that went to its end, unless it installed something since."""
    seen = trial.seen
    boot = seen.settled or seen.recovered
    if trial.lab_fault is not None or boot is None or not boot.up or not boot.confirmed:
        return None
    return boot


@cache
def _setup() -> Setup:
    return setup_of(Environment(os.environ[JUDGE]).get_target())
