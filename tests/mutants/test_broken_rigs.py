"""A fault of the rig is never a verdict: each one makes a trial inconclusive, with its cause."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from powercut import at
from powercut.model import LossModel, Outcome
from powercut.rig import Rig
from powercut.trial import Plan, Trial, run_trial
from powercut.triggers import AnyTrigger


def tried(rig: Rig, cut: AnyTrigger, folder: Path) -> Trial:
    return run_trial(rig, Plan("broken rig", "next", cut, LossModel.CACHE, "3"), folder)


def test_a_cut_that_never_happens_proves_nothing(variant: Callable[..., Rig], tmp_path: Path) -> None:
    rig = variant(update="echo OTA: failed: no network; exit 1")
    trial = tried(rig, at.console("OTA: have"), tmp_path)

    assert [trial.judge(name).outcome for name in ("atomicity", "resumption")] == [Outcome.INCONCLUSIVE] * 2
    assert "the cut did not happen" in trial.judge("atomicity").reason
    assert "no network" in str(trial.judge("atomicity"))


def test_a_supply_that_dies_by_itself_is_not_the_devices_fault(variant: Callable[..., Rig], tmp_path: Path) -> None:
    rig = variant(update="echo OTA: begun; sleep 100")

    def die(_line: str) -> None:
        pid = rig.device.power._qemu.pid
        threading.Thread(target=os.kill, args=(pid, signal.SIGKILL)).start()

    rig.device.power.reader.watch("OTA: begun", die)
    trial = tried(rig, at.console("OTA: have"), tmp_path)

    assert trial.judge("atomicity").outcome is Outcome.INCONCLUSIVE
    assert "nobody had cut it" in trial.judge("atomicity").reason


def test_a_device_that_never_confirms_its_base_release_is_no_known_state(
    variant: Callable[..., Rig], tmp_path: Path
) -> None:
    rig = variant(confirmed="never printed", limits={"command_s": 5})
    trial = tried(rig, at.console("OTA: have"), tmp_path)

    assert trial.judge("user data").outcome is Outcome.INCONCLUSIVE
    assert "never said 'never printed'" in trial.judge("user data").reason
