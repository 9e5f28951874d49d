"""A violated trial as pytest leaves it, on a small disk without any system."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from powercut.disk.blocks import open_blocks
from powercut.invariants import INVARIANTS
from powercut.lab.commandline import Hardware, Machine
from powercut.lab.saves import image_identity
from powercut.model import LossModel
from powercut.rehearsal import Spoken
from powercut.store import Store
from powercut.trial import CUT_REMARK, Plan, Recording, Trial
from powercut.triggers import at
from tests.unit.observations import MIX, OLD, seen, view

NODE = "test_x.py::test_old_or_new"
MACHINE = Machine("/opt/qemu/qemu-system-x86_64", "q35", "qemu64", "512M", "tcg")
SEED = "3"
# 0 and 1 are durable; 3 to 7 are volatile at the cut before 8; 8 is the next flush
SCRIPT = (
    *("write -P 1 0 4k", "write -P 2 4k 512", "flush"),
    *("write -P 3 8k 4k", "write -P 4 12k 1k", "write -P 5 16k 4k", "write -P 6 20k 4k", "write -P 7 24k 4k"),
    *("flush", "write -P 8 28k 4k"),
)
SAID = (Spoken(5.0, "OTA: deploying", 2), Spoken(6.5, "OTA: done", 6), Spoken(7.0, "rebooting", 9))
CUT_AT = 8

MakeRecord = Callable[..., Path]


@pytest.fixture
def make_record(tmp_path: Path) -> MakeRecord:
    """The folder of a trial, violated before any recovery, with or without its evidence."""

    def make(*, keep: int = 1 << 30, environment: str = "", hardware: Machine = MACHINE) -> Path:
        image = tmp_path / "disk.img"
        image.write_bytes(bytes(1 << 20))
        test = tmp_path / "test_x.py"
        test.write_text("def test_old_or_new(): pass\n")
        plan = Plan(
            "base-next phase:after.done retry pull cache", "next", at.phase("after.done"), LossModel.CACHE, SEED
        )
        store = Store(tmp_path / "out", keep)
        folder = store.folder(plan.name)
        log = folder / "disk0-0.log"
        log.touch()
        written = tmp_path / "written.img"
        written.write_bytes(image.read_bytes())
        layers = f"driver=blklogwrites,file.driver=file,file.filename={written},log.driver=file,log.filename={log}"
        words = [word for command in (*SCRIPT, "sigraise 9") for word in ("-c", command)]
        killed = ["qemu-io", "-t", "writeback", "--image-opts", layers, *words]
        subprocess.run(killed, check=False, stdout=subprocess.DEVNULL, timeout=30)
        (folder / "console.log").write_text(f"1.0 a rehearsal\n2.0 {CUT_REMARK}\n3.0 Linux version 6.1\n")
        with open_blocks(image) as before:
            recording = Recording((log,), 0, CUT_AT, before, before, SAID)
            trial = Trial(plan, seen(after_cut=view(OLD, MIX), announced=("done",)), folder, recording)
            assert [trial.judge(name) for name in INVARIANTS]
            virtual = Hardware(hardware, ("virtio-blk-pci",), "QEMU emulator version 7.2.1", image_identity(image))
            where = environment or str(tmp_path / "env.yaml")
            trial.seen = replace(trial.seen, console_tail=("the end",))
            store.write(trial, NODE, where, image, file=test, hardware=virtual)
        return folder

    return make
