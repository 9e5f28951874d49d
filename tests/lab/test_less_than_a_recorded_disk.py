"""Where there is no recorded disk, the same promises are judged from the console, and the record says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT

from powercut import at
from powercut.model import Evidence, LossModel, Outcome
from powercut.rig import Rig
from powercut.trial import Plan, run_trial

PROMISES = ("atomicity", "resumption", "user data")


def test_every_promise_is_judged_on_the_device_and_a_cut_is_a_plain_kill(
    variant: Callable[..., Rig], tmp_path: Path
) -> None:
    rig = variant(driver={"disks": [{"image": f"{ROOT}/build/ostree/disk.img", "recorded": False}]})
    trial = run_trial(rig, Plan("not recorded", "next", at.fraction(0.5), LossModel.NONE, "9"), tmp_path)

    assert trial.seen.evidence is Evidence.CONSOLE
    assert [trial.judge(name).outcome for name in PROMISES] == [Outcome.HOLDS] * 3, trial.seen
    assert any("not recorded" in note for note in trial.seen.notes)


def test_an_image_that_does_not_boot_is_a_clear_fault_of_the_rig(variant: Callable[..., Rig], tmp_path: Path) -> None:
    blank = tmp_path / "blank.img"
    blank.write_bytes(bytes(16 << 20))
    rig = variant(driver={"disks": [{"image": str(blank)}]}, evidence="console", limits={"boot_s": 5})
    trial = run_trial(rig, Plan("blank", "next", at.console("x"), LossModel.CACHE, "9"), tmp_path)

    assert "did not reach its shell in 5 s" in str(trial.seen.rig_fault)
    assert trial.judge("atomicity").outcome is Outcome.INCONCLUSIVE
