"""A release pushed over SSH: the same gate, the same ledger, the same promises."""

from __future__ import annotations

from pathlib import Path

from powercut import at
from powercut.model import LossModel, Outcome
from powercut.rig import Rig
from powercut.trial import Plan, run_trial


def test_a_push_that_was_cut_at_an_exact_byte_is_repeated_and_installed(reference: Rig, tmp_path: Path) -> None:
    plan = Plan("push", "next", at.bytes(3_000_000), LossModel.CACHE, "1", by="push")
    trial = run_trial(reference, plan, tmp_path)

    assert trial.seen.cut is not None, trial.seen.rig_fault
    assert trial.seen.cut.sent_bytes == 3_000_000
    assert trial.seen.recovered is not None
    assert trial.seen.recovered.release == "1.0"
    assert trial.judge("atomicity").outcome is Outcome.HOLDS, trial.judge("atomicity")
    assert trial.seen.settled is not None
    assert trial.seen.settled.release == "1.1"
