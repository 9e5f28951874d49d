"""What a board behind a rack costs: cut latency per way to the supply, and what a trial adds to boots and update."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.virtual_lab.client import Lab
from tools.virtual_lab.rigs import coordinated, environment, kept

from powercut.model import LossModel
from powercut.rig import Rig
from powercut.trial import Plan, run_trial
from powercut.triggers import at

Row = tuple[str, float, str, str]
SUPPLIES = ("http", "snmp", "pdudaemon")
QUICK = {"off_s": 0.3, "silence_s": 0.3, "answer_s": 10.0}


def through_the_lab(cuts: int) -> Iterator[Row]:
    """(name, value, unit, goal) per figure."""
    with coordinated(1) as lab, tempfile.TemporaryDirectory() as folder:
        for supply in SUPPLIES:
            with kept(environment(Path(folder), "vlab-1", QUICK, supply=supply)) as upkeep:
                yield from latency(lab, upkeep.rig.device.power, supply, cuts)
    # one board may have the whole host, as a board of its own would
    with (
        tempfile.TemporaryDirectory() as folder,
        coordinated(1, processors=os.cpu_count() or 1),
        kept(environment(Path(folder), "vlab-1", QUICK)) as upkeep,
    ):
        yield from overhead(upkeep.rig, Path(folder))


def latency(lab: Lab, power: Any, supply: str, cuts: int) -> Iterator[Row]:
    """From asking to the supply's answer, and to the end of QEMU's process."""
    acknowledged, dead = [], []
    for _ in range(cuts):
        power.restore()
        process = Path(f"/proc/{lab.board('vlab-1')['pid']}/stat")
        power.cut()
        while process.exists() and process.read_text().rsplit(")", 1)[1].split()[0] != "Z":
            time.sleep(0.0002)
        died = time.monotonic()
        off = power.await_off()
        acknowledged.append(1000 * (off.acknowledged_s - off.asked_s))
        dead.append(1000 * (died - off.asked_s))
    for what, found in (("acknowledged", acknowledged), ("dead", dead)):
        ordered = sorted(found)
        yield f"cut over {supply}: asked to {what}, median of {cuts}", statistics.median(found), "ms", ""
        yield f"cut over {supply}: asked to {what}, p95", ordered[int(0.95 * (len(ordered) - 1))], "ms", ""


def overhead(rig: Rig, folder: Path) -> Iterator[Row]:
    """What a trial through the lab takes beside what the device does in it: two updates, a boot and a restart."""
    run_trial(rig, Plan("warm-up", "next", at.fraction(0.5), LossModel.NONE, "1"), _fresh(folder, "warm"))
    began = time.monotonic()
    trial = run_trial(rig, Plan("measured", "next", at.fraction(0.5), LossModel.NONE, "2"), _fresh(folder, "trial"))
    whole, seen = time.monotonic() - began, trial.seen
    assert seen.cut is not None, trial.lab_fault
    assert seen.cut.off is not None
    assert seen.known_s is not None
    assert seen.recovered is not None
    assert seen.settled is not None
    update = seen.cut.off.asked_s - began - seen.known_s + sum(again.took_s for again in seen.retries)
    boot, restart = seen.recovered.boot_s, seen.settled.boot_s
    yield "the way back to the known state", seen.known_s, "s", ""
    yield "boot of the virtual board", boot, "s", ""
    yield "its restart", restart, "s", ""
    yield "its update, interrupted once", update, "s", ""
    yield "trial through the lab, from its known state", whole - seen.known_s, "s", ""
    yield "its overhead over boot, restart and update", whole - seen.known_s - boot - restart - update, "s", "at most 5"


def _fresh(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made
