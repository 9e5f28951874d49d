"""A confirmation that is not flushed: plain kills stay green, a volatile cache turns it red, on the disk only."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from tests.conftest import ROOT

from powercut.invariants import atomicity
from powercut.model import Cut, LossModel, Observation, Outcome, Promises
from powercut.rehearsal import rehearse
from powercut.rig import Rig
from powercut.trial import drawn, recording_of

SEEDS = range(12)


def reasons(rig: Rig, model: LossModel) -> list[str]:
    """What atomicity says of the disks that a cut right after the confirmation leaves, where it is violated."""
    rehearsal = rehearse(rig, rig.setup.release("next"))
    recording = recording_of(rig, rehearsal.log_paths, rehearsal.confirmed, rehearsal.began)
    assert rig.judge is not None
    found = []
    for seed in SEEDS:
        state, loss = drawn(recording, model, Random(seed), str(seed))
        seen = Observation(
            "1.0", "1.1", rig.evidence, Promises(0), Cut("after.confirmed", None, 0, (loss,)), ("done", "confirmed")
        )
        verdict = atomicity(
            Observation(**{**seen.__dict__, "after_cut": rig.judge.look(state), "rig_fault": "no boot"})
        )
        if verdict.outcome is Outcome.VIOLATED:
            found.append(verdict.reason)
    return found


def test_only_a_volatile_cache_shows_it(variant: Callable[..., Rig]) -> None:
    rig = variant(driver={"disks": [{"image": f"{ROOT}/build/ostree-env-noflush/disk.img"}]})

    assert reasons(rig, LossModel.NONE) == []
    lost = reasons(rig, LossModel.CACHE)
    assert lost
    assert all("on the disk 1.0 is confirmed" in reason for reason in lost)


def test_the_reference_device_flushes_it(reference: Rig) -> None:
    assert reasons(reference, LossModel.CACHE) == []
