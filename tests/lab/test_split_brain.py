"""U-Boot replays no journal: after a cut the loader and Linux see different files on the same ext4.

The reference device switches a link as update systems do, and its recorded disk is then looked at with the journal
replayed, as the kernel sees it, and without, as the loader does. One such state is shown to both.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from tests.conftest import ROOT
from tests.uboot import Board, Recorded, board, needs

from powercut.disk.blocks import Blocks
from powercut.disk.chain import open_chain
from powercut.disk.loss import lose
from powercut.integrity.ext4 import Ext4
from powercut.integrity.journal import reader, replayed
from powercut.integrity.partitions import Partition, partitions
from powercut.model import LossModel
from powercut.rig import Rig
from powercut.rig.recorded import replayed as written

pytestmark = pytest.mark.long

ROOT_PARTITION = 2
ON_DISK = "/ostree/deploy/powercut/var/loaders"
PREPARE = (
    "mkdir -p /var/loaders/loader.0 /var/loaders/loader.1 && cd /var/loaders"
    " && echo seen=old >loader.0/uEnv.txt && echo seen=new >loader.1/uEnv.txt && ln -s loader.0 loader && sync"
)
SWITCH = "ln -s loader.1 next && mv -T next loader && sync /var/loaders"
FILE = "loader/uEnv.txt"
IMPORT = f"load virtio 0:{ROOT_PARTITION} ${{loadaddr}} {ON_DISK}/{FILE} && env import -t ${{loadaddr}} ${{filesize}}"
DRAWS = 8


def root_of(disk: Blocks) -> Partition:
    return next(part for part in partitions(disk.read, disk.size) if part.number == ROOT_PARTITION)


def loader_sees(disk: Blocks) -> str:
    """What the file says in the blocks as they lie there."""
    files = Ext4(reader(disk, root_of(disk)))
    return files.read_file(files.resolve(f"{ON_DISK}/{FILE}")[1]).decode().strip()


def kernel_sees(disk: Blocks) -> str:
    """What it says once the journal is replayed."""
    after, replay = replayed(disk, root_of(disk))
    assert replay.damage is None
    return loader_sees(after)


def ran(rig: Rig, command: str) -> str:
    answer = rig.device.run(command)
    assert answer.exit_code == 0, answer.text
    return answer.text


def records(rig: Rig) -> int:
    assert rig.device.disk is not None
    with open_chain(rig.device.disk.logs) as chain:
        return len(chain)


def recorded(rig: Rig) -> Recorded:
    assert rig.device.disk is not None
    return Recorded(rig.device.disk.before, rig.device.disk.logs)


def in_uboot(the: Board, disk: Blocks) -> str | None:
    the.qemu.insert(disk)
    with the.powered() as uboot:
        uboot.run_check(f"virtio scan; {IMPORT}")
        return the.value("seen")


def in_linux(rig: Rig, disk: Blocks) -> str:
    assert rig.device.disk is not None
    rig.device.disk.insert(disk)
    assert rig.boot().up
    seen = ran(rig, f"cat /var/loaders/{FILE}")
    rig.device.power_off()
    return seen


def test_after_a_switch_that_is_durable_uboot_still_reads_the_old_files(reference: Rig, tmp_path: Path) -> None:
    needs("uboot")
    with reference.known(Random(0)):
        ran(reference, PREPARE)
        prepared = records(reference)
        ran(reference, SWITCH)
        switched = records(reference)
        ran(reference, "sync")
        device = recorded(reference)
        reference.device.power_off()
    cuts = [written(device.before, device.logs, at) for at in range(prepared, switched + 1)]
    views = [(loader_sees(disk), kernel_sees(disk)) for disk in cuts]
    with open_chain(device.logs, cut_at=switched) as chain:
        drawn = [lose(device.before, chain, LossModel.CACHE, Random(seed), seed=str(seed))[0] for seed in range(DRAWS)]
    synced = written(device.before, device.logs)

    assert views[0] == ("seen=old", "seen=old")
    assert views[-1] == ("seen=old", "seen=new"), "the journal alone has the switch"
    assert {kernel for _, kernel in views} == {"seen=old", "seen=new"}
    assert {kernel_sees(disk) for disk in drawn} == {"seen=new"}, "sync had said that it is durable"
    assert (loader_sees(synced), kernel_sees(synced)) == ("seen=new", "seen=new"), "written back, both see it"

    with board("uboot", tmp_path, [{"image": str(ROOT / "build/ostree/disk.img")}]) as the:
        assert in_uboot(the, cuts[-1]) == "old"
        assert in_uboot(the, synced) == "new"
    assert in_linux(reference, cuts[-1]) == "seen=new"
