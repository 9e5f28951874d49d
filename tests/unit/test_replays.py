"""What a replay goes by: the very image that was recorded on, and a test that asks for the recorded cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from powercut.disk.blocks import open_blocks
from powercut.errors import UsageError
from powercut.harness import Session, replayed_cut
from powercut.lab.commandline import Hardware, Machine
from powercut.lab.saves import image_identity
from powercut.model import LossModel
from powercut.store import Record, Store, load_record
from powercut.trial import Plan, Recording, Trial
from powercut.triggers import at
from tests.unit.observations import MIX, OLD, seen, view

PLAN = Plan("base-next phase:after.done retry pull cache", "next", at.phase("after.done"), LossModel.CACHE, "7")


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """A violated trial whose cut came before the guest's first request."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    store = Store(tmp_path / "out", 1 << 30)
    folder = store.folder(PLAN.name)
    (folder / "disk0-0.log").touch()
    virtual = Hardware(Machine("qemu", "q35", "max", "512M", "tcg"), ("virtio-blk-pci",), "7.2", image_identity(image))
    with open_blocks(image) as before:
        recording = Recording((folder / "disk0-0.log",), 0, None, before, before)
        trial = Trial(PLAN, seen(after_cut=view(OLD, MIX), announced=("done",)), folder, recording)
        trial.judge("atomicity")
        store.write(trial, "test_x.py::test_y", "env.yaml", image, hardware=virtual)
    return load_record(folder)


def replaying(record: Record, image: Path) -> tuple[Recording, Any, tuple[str, ...], int]:
    """The cut of a record on a rig whose disk has this image."""
    with open_blocks(image) as blocks:
        disk = SimpleNamespace(base=image, image=blocks)
        return replayed_cut(record)(cast("Any", SimpleNamespace(device=SimpleNamespace(disk=disk))))


@pytest.fixture
def session(record: Record) -> Callable[..., Session]:
    """A run in which these plans were tried."""

    def tried(*plans: Plan, replay: Record | None = record) -> Session:
        trials: Any = dict.fromkeys(plans)
        nowhere: Any = None
        return Session(nowhere, nowhere, "env.yaml", "7", LossModel.CACHE, replay, trials=trials)

    return tried


def test_a_copy_of_the_image_at_another_place_will_do(record: Record, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.img"
    copy.write_bytes(bytes(1 << 20))
    recording, cut, announced, _ = replaying(record, copy)
    assert (recording.logs, cut.trigger, announced) == (record.logs, "fraction:0.5 (replayed)", ("done",))


def test_an_image_that_was_written_since_is_another_one_at_the_same_place(record: Record, tmp_path: Path) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(4096) + b"x" + bytes((1 << 20) - 4097))
    with pytest.raises(UsageError, match="is another image"):
        replaying(record, tmp_path / "disk.img")


def test_a_test_that_asks_for_other_cuts_by_now_replayed_nothing(session: Callable[..., Session]) -> None:
    other = replace(PLAN, cut=at.phase("during.write"), name="another")
    with pytest.raises(UsageError, match="the recorded cut was not asked for") as told:
        session(other).check_replayed()
    assert "it asked for another" in str(told.value)


def test_a_test_that_asks_for_the_recorded_cut_among_others_replayed_it(session: Callable[..., Session]) -> None:
    session(replace(PLAN, name="another"), PLAN).check_replayed()


def test_a_test_that_came_to_no_cut_and_a_run_that_replays_nothing_are_no_false_replays(
    session: Callable[..., Session],
) -> None:
    session().check_replayed()
    session(PLAN, replay=None).check_replayed()
