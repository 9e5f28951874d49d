"""What a board behind a rack costs: cut latency per way to the supply, and what a trial adds to boots and update."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
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
        with kept(environment(Path(folder), "vlab-1")) as upkeep:
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
    """A trial through the lab, over two boots and one update of the same board without a trial around them."""
    device, setup = rig.device, rig.setup
    run_trial(rig, Plan("warm-up", "next", at.fraction(0.5), LossModel.NONE, "1"), _fresh(folder, "warm"))
    began = time.monotonic()
    trial = run_trial(rig, Plan("measured", "next", at.fraction(0.5), LossModel.NONE, "2"), _fresh(folder, "trial"))
    whole = time.monotonic() - began
    known = trial.seen.known_s or 0.0
    with rig.known(Random(1)):
        rig.offer(setup.release("next"))
        command = rig.client.filled(setup.update, setup.release("next"), rig.url)
        update = _timed(lambda: device.run(command, setup.update_s))
        off = device.power_off()
        device.clock.rest(max(0.0, off.asked_s + device.power.least_off_s - device.clock.now()))
        boot = _timed(lambda: _boot(rig))
    yield "the way back to the known state", known, "s", ""
    yield "boot of the virtual board", boot, "s", ""
    yield "update of the virtual board", update, "s", ""
    yield "trial through the lab, from its known state", whole - known, "s", ""
    yield "its overhead over two boots and one update", whole - known - 2 * boot - update, "s", "at most 5"


def _boot(rig: Rig) -> None:
    rig.device.power_on()
    rig.device.await_shell(rig.setup.boot_s)


def _fresh(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


def _timed(work: Any) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
