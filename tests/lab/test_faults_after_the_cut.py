"""Faults that begin while the board starts after a confirmed cut: also these are never taken for the device's.

A dead line or a hand on the outlet looks from outside like a board that hangs; a lost byte like an update that failed.
"""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tools.virtual_lab.client import Lab
from tools.virtual_lab.rigs import coordinated, environment, kept

from powercut.model import LossModel, Outcome
from powercut.rehearsal import Stimulus, rehearse
from powercut.rig import Rig
from powercut.trial import Plan, Trial, run_trial
from powercut.triggers import at
from powercut.upkeep import Upkeep

pytestmark = pytest.mark.system
BANNER = "^BOOT: "
LATER_S = 1.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One board."""
    with coordinated(1) as lab:
        yield lab


@pytest.fixture
def upkeep(lab: Lab, tmp_path: Path) -> Iterator[Upkeep]:
    """Its rig, over a supply that can't be read back: nothing but the console and the network tells of the board."""
    with kept(environment(tmp_path, "vlab-1", supply="pdudaemon")) as upkeep:
        rehearse(upkeep.rig, Stimulus(upkeep.rig.setup.release("next")))
        upkeep.rig.device.bring_up()
        yield upkeep
        lab.heal()


@pytest.mark.long
def test_a_prompt_that_came_while_the_cable_was_out_is_asked_for_again(
    lab: Lab, upkeep: Upkeep, tmp_path: Path
) -> None:
    def out_and_in() -> None:
        lab.fault("vlab-1", "cable-pulled")
        threading.Timer(0.75 * upkeep.rig.setup.boot_s, lab.heal).start()

    trial = disturbed(upkeep.rig, out_and_in, tmp_path)
    assert trial.seen.recovered is not None
    assert trial.seen.recovered.up
    assert trial.judge("atomicity").outcome is not Outcome.VIOLATED, trial.judge("atomicity")


@pytest.mark.long
def test_a_cable_that_is_back_only_for_the_proof_blames_nobody(lab: Lab, upkeep: Upkeep, tmp_path: Path) -> None:
    power = upkeep.rig.device.power
    power_off = upkeep.rig.device.power_off

    def healed_first() -> object:  # the proof switches off and on
        lab.heal()
        return power_off()

    def out() -> None:
        lab.fault("vlab-1", "cable-pulled")
        upkeep.rig.device.power_off = healed_first  # type: ignore[method-assign,assignment]

    trial = disturbed(upkeep.rig, out, tmp_path)
    assert power.get()
    inconclusive(trial, "was when switched off and on once more")


def test_an_outlet_that_somebody_switches_off_in_the_start_is_not_the_boards_fault(
    lab: Lab, upkeep: Upkeep, tmp_path: Path
) -> None:
    board = lab.board("vlab-1")

    def switches_off() -> None:
        urllib.request.urlopen(board["http"].format(index=board["index"], value="0"), timeout=10).close()

    inconclusive(disturbed(upkeep.rig, switches_off, tmp_path), "was when switched off and on once more")


@pytest.mark.long
@pytest.mark.parametrize("number", range(2))
def test_a_wire_that_loses_a_byte_now_and_then_never_makes_an_update_fail(
    lab: Lab, upkeep: Upkeep, number: int, tmp_path: Path
) -> None:
    trial = disturbed(upkeep.rig, lambda: lab.fault("vlab-1", "loses-bytes", 0.001), tmp_path)
    assert trial.judge("atomicity").outcome is not Outcome.VIOLATED, trial.judge("atomicity")


def disturbed(rig: Rig, disturb: Callable[[], None], folder: Path) -> Trial:
    """A whole trial, disturbed shortly after the first line of the start that follows the cut."""
    restore = rig.device.power.restore

    def watched() -> None:
        rig.device.power.restore = restore
        rig.device.power.reader.watch(BANNER, lambda _line: threading.Timer(LATER_S, disturb).start())
        restore()

    plan = Plan("disturbed after the cut", "next", at.fraction(0.3), LossModel.NONE, "7")
    power_off = rig.device.power_off

    def cut() -> object:
        rig.device.power.restore, rig.device.power_off = watched, power_off  # type: ignore[method-assign]
        return power_off()

    rig.device.power_off = cut  # type: ignore[method-assign,assignment]
    return run_trial(rig, plan, folder, promises_of=lambda _trial: ["atomicity"])


def inconclusive(trial: Trial, says: str) -> None:
    verdict = trial.judge("atomicity")
    assert verdict.outcome is Outcome.INCONCLUSIVE, verdict
    assert says in str(trial.lab_fault), trial.lab_fault
