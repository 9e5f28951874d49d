"""Whatever the lab does wrong, a trial is INCONCLUSIVE with the right cause, or its cut is confirmed.

Never a wrong verdict, never a hang.

Each fault is switched on before the cut of a trial and stays on until its end. Times are bounds, not measurements.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from tests.lab.conftest import FAULT
from tools.virtual_lab.client import Lab
from tools.virtual_lab.rigs import LIMITS, coordinated, environment, kept

from powercut.clock import MonotonicClock
from powercut.errors import RigError
from powercut.model import LossModel, Outcome
from powercut.rehearsal import Stimulus, rehearse
from powercut.rig import Rig
from powercut.trial import Plan, Trial, run_trial
from powercut.triggers import at
from powercut.upkeep import Upkeep

pytestmark = pytest.mark.system
CLOCK = MonotonicClock()
# a board that is not understood is given up after its limits for booting, and for two questions
LONG_S = 3 * LIMITS["boot_s"] + LIMITS["update_s"]
GARBLED = r"garble|no answer|garbage|loses or changes|stopped answering|of a good start|went well"
HOLDS, INCONCLUSIVE = Outcome.HOLDS, Outcome.INCONCLUSIVE


def row(fault: object, outcome: str, took_s: float) -> str:
    """A line of the table at the end of the run."""
    return f"{fault}  {outcome}  {took_s:.0f} s"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two boards: one to be tested, one that has to do with it when the wiring is wrong."""
    with coordinated(2) as lab:
        yield lab


@pytest.fixture(scope="module")
def upkeep(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upkeep]:
    """The rig of the first board, made whole again after each fault as in a run."""
    with kept(environment(tmp_path_factory.mktemp("env"), "vlab-1")) as upkeep:
        rehearse(upkeep.rig, Stimulus(upkeep.rig.setup.release("next")))  # no part of what is timed
        yield upkeep


@dataclass(frozen=True)
class Fault:
    """A fault of the virtual lab, and what has to come of a trial with it.

    `off_s`: how long the power stays away. `within_s`: what it takes on a busy machine, at most.
    """

    name: str
    value: float | str | None
    outcome: Outcome
    says: str
    board: str = "vlab-1"
    off_s: float = 1.0
    within_s: float = 120.0

    def __str__(self) -> str:
        return f"{self.name}" if self.value is None else f"{self.name}={self.value}"


SUPPLY = [
    Fault("late", 2, HOLDS, "acknowledged after 2"),
    Fault("slow", 2, HOLDS, "acknowledged after"),
    Fault("hangs", None, INCONCLUSIVE, r"no answer to 'off' in 3 s"),
    Fault("errors", None, INCONCLUSIVE, r"'off' failed: .*500"),
    Fault("refuses", None, INCONCLUSIVE, r"'off' failed: .*refused"),
    Fault("ignores", None, INCONCLUSIVE, r"told to switch off, and reads back as on"),
    Fault("lies", None, INCONCLUSIVE, r"15 s later the board still answers"),
    Fault("sticks", None, INCONCLUSIVE, r"15 s later the board still answers"),
    Fault("cycles", 0.7, INCONCLUSIVE, r"the board spoke again, and nobody had given it power", off_s=8.0),
    Fault("miswired", "vlab-2", INCONCLUSIVE, r"15 s later the board still answers"),
    Fault("capacitors", 1500, HOLDS, "silent"),
    Fault("brown-out", 6000, INCONCLUSIVE, r"the rig may be to blame|console is silent", within_s=LONG_S),
]
SERIAL = [
    Fault("noise", 0.02, INCONCLUSIVE, GARBLED, within_s=LONG_S),
    Fault("loses-bytes", 0.02, INCONCLUSIVE, GARBLED, within_s=LONG_S),
    Fault("cable-pulled", None, INCONCLUSIVE, r"the rig may be to blame|console is silent"),
    Fault("cable-loose", 6, HOLDS, r"was silent for"),
    Fault("adapter-unplugged", None, INCONCLUSIVE, r"the line went dead"),
    Fault("ser2net-killed", None, INCONCLUSIVE, r"the line went dead"),
    Fault("ser2net-stopped", None, INCONCLUSIVE, r"the rig may be to blame|console is silent", within_s=LONG_S),
]
LAB = [
    Fault("exporter-killed", None, INCONCLUSIVE, r"the line went dead", board="lab"),
    Fault("exporter-stopped", None, HOLDS, r"was silent for", board="lab"),
    Fault("coordinator-killed", None, INCONCLUSIVE, r"the line went dead", board="lab"),
]


IN_EVERY_CHECK = {
    *("hangs", "lies", "cycles"),
    *("ser2net-killed", "coordinator-killed"),
}


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=() if fault.name in IN_EVERY_CHECK else pytest.mark.long)
        for fault in (*SUPPLY, *SERIAL, *LAB)
    ],
    ids=str,
)
def test_a_fault_of_the_lab_is_named_and_is_no_verdict(
    lab: Lab,
    upkeep: Upkeep,
    fault: Fault,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upkeep.rig.device.power, "off_s", fault.off_s)
    began_s = CLOCK.now()
    trial = with_fault_at_the_cut(lab, upkeep.rig, fault, tmp_path)
    took_s = CLOCK.now() - began_s
    verdict = trial.judge("atomicity")
    record_property(FAULT, row(fault, verdict.outcome.name, took_s))
    lab.heal()
    lab.heal("lab")
    assert (trial.lab_fault is None) == (fault.outcome is HOLDS), "what is inconclusive is worth another try"
    if trial.lab_fault is not None:
        upkeep.heal(trial.lab_fault)
    assert verdict.outcome is fault.outcome, verdict
    assert re.search(fault.says, told(trial)), told(trial)
    assert took_s < fault.within_s
    assert upkeep.aside is None


@pytest.mark.long
@pytest.mark.parametrize("number", range(2))
def test_a_wire_that_loses_a_byte_now_and_then_never_makes_a_violation(
    lab: Lab, upkeep: Upkeep, number: int, tmp_path: Path
) -> None:
    rare = Fault("loses-bytes", 0.0005, INCONCLUSIVE, "")
    trial = with_fault_at_the_cut(lab, upkeep.rig, rare, tmp_path)
    lab.heal()
    if trial.lab_fault is not None:
        upkeep.heal(trial.lab_fault)
    assert trial.judge("atomicity").outcome is not Outcome.VIOLATED, trial.judge("atomicity")


@pytest.mark.parametrize(("fault", "says"), [("errors", "'on' failed: .*500"), ("ignores", "reads back as off")])
def test_a_supply_that_fails_when_power_should_come_back_is_named(
    lab: Lab,
    upkeep: Upkeep,
    fault: str,
    says: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    began_s = CLOCK.now()
    power = upkeep.rig.device.power
    restore = power.restore

    def misbehaving() -> None:
        power.restore = restore  # once: it has to work again when the rig is healed
        lab.fault("vlab-1", fault)
        restore()

    power.restore = misbehaving
    plan = Plan(f"{fault} when switched on", "next", at.fraction(0.3), LossModel.NONE, "7", then="boot")
    trial = run_trial(upkeep.rig, plan, tmp_path, promises_of=lambda _trial: ["atomicity"])
    took_s = CLOCK.now() - began_s
    lab.heal()
    record_property(FAULT, row(f"{fault}, switching on", trial.judge("atomicity").outcome.name, took_s))
    assert trial.judge("atomicity").outcome is INCONCLUSIVE
    assert re.search(says, told(trial)), told(trial)
    upkeep.heal(str(trial.lab_fault))


@pytest.mark.parametrize(
    ("fault", "board", "says"),
    [
        ("ignores", "vlab-2", "15 s later the board still answers"),
        pytest.param("pdudaemon-killed", "lab", "'off' failed: .*refused", marks=pytest.mark.long),
    ],
)
def test_a_supply_behind_a_daemon_that_can_not_be_read_back_is_found_out(
    lab: Lab,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    fault: str,
    board: str,
    says: str,
    record_property: Callable[[str, object], None],
) -> None:
    file = environment(tmp_path_factory.mktemp("pdudaemon"), "vlab-2", supply="pdudaemon")
    with kept(file) as upkeep:
        began_s = CLOCK.now()
        trial = with_fault_at_the_cut(lab, upkeep.rig, Fault(fault, None, INCONCLUSIVE, "", board=board), tmp_path)
        took_s = CLOCK.now() - began_s
        lab.heal()
        lab.heal("lab")
        record_property(FAULT, row(f"{fault}, behind pdudaemon", trial.judge("atomicity").outcome.name, took_s))
        assert trial.judge("atomicity").outcome is INCONCLUSIVE
        assert re.search(says, told(trial)), told(trial)
        upkeep.heal(str(trial.lab_fault))


def test_a_board_whose_outlet_somebody_else_switches_is_not_blamed_for_its_update(
    lab: Lab, upkeep: Upkeep, record_property: Callable[[str, object], None]
) -> None:
    began_s = CLOCK.now()
    rig, other = upkeep.rig, lab.board("vlab-2")["http"]
    lab.fault("vlab-2", "shared", "vlab-1")

    def somebody_switches(_line: str) -> None:
        for value in ("0", "1"):
            urllib.request.urlopen(other.format(index=lab.board("vlab-2")["index"], value=value), timeout=10).close()

    with rig.known(Random(1)):
        stop = rig.device.power.reader.watch("OTA: target", somebody_switches)
        with pytest.raises(RigError, match="the board started anew in the middle of a command"):
            rig.update(rig.setup.release("next"))
        stop()
    record_property(FAULT, row("shared=vlab-1", INCONCLUSIVE.name, CLOCK.now() - began_s))
    lab.heal()
    upkeep.heal("somebody switched the outlet")


def with_fault_at_the_cut(lab: Lab, rig: Rig, fault: Fault, folder: Path) -> Trial:
    """A trial in which the lab begins to misbehave in the moment in which power is to be cut."""
    rig.device.bring_up()  # a board that is off would be switched off and on, and meet the fault before its trial
    cut = rig.device.cut

    def misbehaving() -> None:
        rig.device.cut = cut  # type: ignore[method-assign]  # once: some faults can't be made twice
        lab.fault(fault.board, fault.name, fault.value)
        cut()

    rig.device.cut = misbehaving  # type: ignore[method-assign]
    plan = Plan(f"fault {fault.name}", "next", at.fraction(0.3), LossModel.NONE, "7", then="boot")
    try:
        return run_trial(rig, plan, folder, promises_of=lambda _trial: ["atomicity"])
    finally:
        rig.device.cut = cut  # type: ignore[method-assign]


def told(trial: Trial) -> str:
    """All that the trial says about its cut."""
    cut = trial.seen.cut
    by = cut.off.by if cut is not None and cut.off is not None else ()
    return "; ".join([*by, str(trial.judge("atomicity")), *filter(None, [trial.lab_fault])])
