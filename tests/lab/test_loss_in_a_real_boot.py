"""The control of the loss model: an unflushed write may be gone after a cut, a flushed one never is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from powercut import at
from powercut.model import LossModel
from powercut.rig import Rig
from powercut.trial import Plan, Recording, drawn, run_trial

SEEDS = range(20)
# a sector of the environment's partition that its file system does not use
PARTITION_BYTES, SECTOR = 1061 << 20, 1500
MARK = b"P" * 512
WRITE = f"head -c 512 /dev/zero | tr '\\0' P | dd of=/dev/vda3 bs=512 seek={SECTOR} iflag=fullblock oflag=direct conv="


def recorded(variant: Callable[..., Rig], how: str, folder: Path) -> tuple[Rig, Recording]:
    """A device that wrote one sector and lost its power at once."""
    rig = variant(update=f"{WRITE}{how}; echo WRITTEN; sleep 60", done="^WRITTEN")
    plan = Plan("raw write", "next", at.console("^WRITTEN"), LossModel.NONE, "0", then="boot")
    trial = run_trial(rig, plan, folder)
    assert trial.recording is not None, trial.seen.rig_fault
    return rig, trial.recording


def is_lost(recording: Recording, model: LossModel, seed: int) -> bool:
    state, _ = drawn(recording, model, Random(seed), str(seed))
    return state.read(PARTITION_BYTES + SECTOR * 512, 512) != MARK


def sector_in_the_guest(rig: Rig, recording: Recording, model: LossModel, seed: int) -> bytes:
    """What the device itself reads there after it booted from the drawn state."""
    state, _ = drawn(recording, model, Random(seed), str(seed))
    assert rig.device.disk is not None
    rig.device.disk.insert(state)
    assert rig.boot().up
    read = rig.device.run(f"dd if=/dev/vda3 bs=512 skip={SECTOR} count=1 iflag=direct 2>/dev/null | tr '\\0' 0")
    rig.device.power_off()
    return read.text.encode()


def test_an_unflushed_write_is_gone_in_about_half_of_the_cuts_and_stays_after_a_plain_kill(
    variant: Callable[..., Rig], tmp_path: Path
) -> None:
    rig, recording = recorded(variant, "notrunc", tmp_path)
    lost = [seed for seed in SEEDS if is_lost(recording, LossModel.CACHE, seed)]
    kept = sorted(set(SEEDS) - set(lost))

    assert 5 <= len(lost) <= 15
    assert not any(is_lost(recording, LossModel.NONE, seed) for seed in SEEDS)
    assert sector_in_the_guest(rig, recording, LossModel.CACHE, lost[0]) != MARK
    assert sector_in_the_guest(rig, recording, LossModel.CACHE, kept[0]) == MARK


def test_a_flushed_write_is_never_gone(variant: Callable[..., Rig], tmp_path: Path) -> None:
    _, recording = recorded(variant, "notrunc,fsync", tmp_path)
    assert not any(is_lost(recording, LossModel.CACHE, seed) for seed in SEEDS)
