"""U-Boot replays no journal: after a cut the loader and Linux see different files on the same ext4.

The reference device switches a link as update systems do, and its recorded disk is then looked at with the journal
replayed, as the kernel sees it, and without, as the loader does. One such state is shown to both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from tests.conftest import ROOT
from tests.uboot import Board, board, needs

from powercut.disk.blocks import Blocks
from powercut.disk.chain import open_chain
from powercut.disk.loss import lose
from powercut.integrity.damage import Damaged, Missing
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
SWITCH = "cd /var/loaders && ln -s loader.1 next && mv -T next loader && sync /var/loaders"
FILE = "loader/uEnv.txt"
IMPORT = f"load virtio 0:{ROOT_PARTITION} ${{loadaddr}} {ON_DISK}/{FILE} && env import -t ${{loadaddr}} ${{filesize}}"
NOTHING = "nothing"
DRAWS = 8


def root_of(disk: Blocks) -> Partition:
    return next(part for part in partitions(disk.read, disk.size) if part.number == ROOT_PARTITION)


def loader_sees(disk: Blocks) -> str:
    """What the file says in the blocks as they lie there; a link half written back leads nowhere."""
    files = Ext4(reader(disk, root_of(disk)))
    try:
        return files.read_file(files.resolve(f"{ON_DISK}/{FILE}")[1]).decode().strip()
    except (Damaged, Missing):
        return NOTHING


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


@dataclass(frozen=True)
class Switch:
    """A recorded switch: from record `prepared` to `switched`, when it was durable; a full sync up to `synced`."""

    before: Blocks
    logs: tuple[Path, ...]
    prepared: int
    switched: int
    synced: int

    def cut(self, at: int) -> Blocks:
        """The disk after a plain cut behind a record."""
        return written(self.before, self.logs, at)

    def lossy(self, seed: int) -> Blocks:
        """One that a volatile cache may have left at the end of the switch."""
        with open_chain(self.logs, cut_at=self.switched) as chain:
            return lose(self.before, chain, LossModel.CACHE, Random(seed), seed=str(seed))[0]


@pytest.fixture(scope="module")
def switch(reference: Rig) -> Switch:
    """What the reference device wrote, from a link that leads to the old file to one that leads to the new."""
    needs("uboot")
    with reference.known(Random(0)):
        ran(reference, PREPARE)
        prepared = records(reference)
        ran(reference, SWITCH)
        switched = records(reference)
        ran(reference, "sync")
        synced = records(reference)
        disk = reference.device.disk
        assert disk is not None
        before, logs = disk.before, disk.logs
        reference.device.power_off()
    return Switch(before, logs, prepared, switched, synced)


def test_a_durable_switch_is_in_the_journal_alone_and_whoever_replays_none_sees_the_old_file(switch: Switch) -> None:
    cuts = [switch.cut(at) for at in range(switch.prepared, switch.switched + 1)]
    views = [(loader_sees(disk), kernel_sees(disk)) for disk in cuts]
    synced = switch.cut(switch.synced)

    assert views[0] == ("seen=old", "seen=old")
    assert views[-1] == ("seen=old", "seen=new")
    assert {kernel for _, kernel in views} == {"seen=old", "seen=new"}
    assert {loader for loader, _ in views} == {"seen=old"}
    assert (loader_sees(synced), kernel_sees(synced)) == ("seen=new", "seen=new"), "written back, both see it"


def test_the_switch_is_durable_for_the_kernel_whatever_a_volatile_cache_loses(switch: Switch) -> None:
    assert {kernel_sees(switch.lossy(seed)) for seed in range(DRAWS)} == {"seen=new"}


def test_until_the_journal_is_written_back_uboot_boots_the_old_file_or_finds_none(
    switch: Switch, tmp_path: Path
) -> None:
    cuts = [switch.cut(at) for at in range(switch.switched, switch.synced + 1)]
    with board("uboot", tmp_path, [{"image": str(ROOT / "build/ostree/disk.img")}]) as the:
        seen = [in_uboot(the, disk) for disk in cuts]

    assert (seen[0], seen[-1]) == ("seen=old", "seen=new")
    assert seen == [loader_sees(disk) for disk in cuts], "the host's look without the journal is U-Boot's"
    assert {kernel_sees(disk) for disk in cuts} == {"seen=new"}


def test_linux_reads_the_new_file_from_the_very_disk_of_which_uboot_reads_the_old(
    switch: Switch, reference: Rig
) -> None:
    assert reference.device.disk is not None
    reference.device.disk.insert(switch.cut(switch.switched))
    assert reference.boot().up
    assert ran(reference, f"cat /var/loaders/{FILE}") == "seen=new"
    reference.device.power_off()


def in_uboot(the: Board, disk: Blocks) -> str:
    """What the file says at U-Boot's prompt."""
    the.qemu.insert(disk)
    with the.powered() as uboot:
        _, _, code = uboot.run(f"virtio scan; {IMPORT}")
        return f"seen={the.value('seen')}" if code == 0 else NOTHING
