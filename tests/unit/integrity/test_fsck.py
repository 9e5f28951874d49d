"""The real fsck on disk states: what is damage, what only looks like it, and that the scratch copy stays the base."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from powercut.disk.blocks import Blocks
from powercut.errors import RigError, UsageError
from powercut.integrity.fsck import Fsck
from powercut.integrity.partitions import Partition

from .conftest import BOOT_AT, ENV_AT, ROOT_AT, Device, Edited, debugfs

BOOT = Partition(1, BOOT_AT, ROOT_AT - BOOT_AT)
ROOT = Partition(2, ROOT_AT, ENV_AT - ROOT_AT)


@pytest.fixture
def fsck(device: Device, tmp_path: Path) -> Iterator[Fsck]:
    fsck = Fsck(device.image, tmp_path)
    yield fsck
    fsck.close()


def test_an_undamaged_disk_is_clean(fsck: Fsck, state: Blocks) -> None:
    assert all(answer.clean and not answer.says for answer in fsck.check(state, [BOOT, ROOT]))


def test_a_count_that_is_only_right_after_an_unmount_is_no_damage(fsck: Fsck, edited: Edited) -> None:
    state = edited(ROOT_AT, "set_super_value free_blocks_count 5", "set_super_value free_inodes_count 5")
    assert fsck.check(state, [ROOT])[0].clean


def test_an_allocated_block_marked_free_is_damage(device: Device, fsck: Fsck, edited: Edited) -> None:
    block = (device.content_at(ROOT_AT, device.path("1.1", "/usr/share/big")) - ROOT_AT) // 4096
    answer = fsck.check(edited(ROOT_AT, f"freeb {block}"), [ROOT])[0]
    assert not answer.clean
    assert any("bitmap differences" in line for line in answer.says)
    assert answer.says[-1] == "e2fsck -p repairs it"


def test_a_directory_of_zeros_is_damage_that_only_a_forced_repair_mends(
    device: Device, fsck: Fsck, state: Blocks
) -> None:
    state.write(device.content_at(BOOT_AT, "/loader/entries"), bytes(4096))
    answer = fsck.check(state, [BOOT])[0]
    assert not answer.clean
    assert answer.says[-1] == "e2fsck -y repairs it"


@pytest.fixture
def orphan(device: Device, tmp_path: Path) -> tuple[str, ...]:
    """Commands that leave a file deleted while it was open; the last one puts it on the list of orphans."""
    copy = tmp_path / "orphan.raw"
    shutil.copy(device.image, copy)
    found = re.search(r"Inode: (\d+)", debugfs(copy, ROOT_AT, "write /dev/null /doomed", "stat /doomed"))
    assert found
    return (
        "write /dev/null /doomed",
        "set_inode_field /doomed links_count 0",
        "unlink /doomed",
        f"set_super_value last_orphan {found[1]}",
    )


def test_a_file_deleted_while_open_is_no_damage(fsck: Fsck, edited: Edited, orphan: tuple[str, ...]) -> None:
    assert fsck.check(edited(ROOT_AT, *orphan), [ROOT])[0].clean


def test_a_deleted_file_that_is_on_no_list_is_damage(fsck: Fsck, edited: Edited, orphan: tuple[str, ...]) -> None:
    assert not fsck.check(edited(ROOT_AT, *orphan[:-1]), [ROOT])[0].clean


def test_damage_beside_an_orphan_stays_damage(
    device: Device, fsck: Fsck, edited: Edited, orphan: tuple[str, ...]
) -> None:
    block = (device.content_at(ROOT_AT, device.path("1.1", "/usr/share/big")) - ROOT_AT) // 4096
    assert not fsck.check(edited(ROOT_AT, *orphan, f"freeb {block}"), [ROOT])[0].clean


def test_after_a_damaged_state_the_scratch_copy_is_the_base_again(device: Device, fsck: Fsck, state: Blocks) -> None:
    damaged = state.fork()
    damaged.write(ROOT_AT, bytes(1 << 20))
    damaged.write(ROOT_AT + 1024, state.read(ROOT_AT + 1024, 1024))
    assert not fsck.check(damaged, [ROOT])[0].clean
    assert fsck.check(state, [ROOT])[0].clean
    assert fsck._scratch.read_bytes() == device.image.read_bytes()


def test_the_scratch_copy_goes_with_its_owner(device: Device, tmp_path: Path, state: Blocks) -> None:
    fsck = Fsck(device.image, tmp_path)
    fsck.check(state, [BOOT])
    fsck.close()
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_e2fsck_says_so(
    fsck: Fsck, state: Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsck.check(state, [BOOT])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="`e2fsck` is not installed"):
        fsck.check(state, [BOOT])


def test_a_base_image_that_cannot_be_copied_is_a_fault_of_the_rig(tmp_path: Path, state: Blocks) -> None:
    with pytest.raises(RigError, match="`cp` failed"):
        Fsck(tmp_path / "gone.raw", tmp_path).check(state, [BOOT])


def test_a_partition_without_a_known_file_system_has_no_answer(fsck: Fsck, state: Blocks) -> None:
    state.write(BOOT_AT, bytes(8192))
    assert fsck.check(state, [BOOT]) == ()


def test_a_vfat_that_cannot_be_checked_says_so(fsck: Fsck, state: Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("powercut.integrity.fsck.which", lambda _: None)
    state.write(BOOT_AT, bytes(82) + b"FAT32   ".ljust(2000, b"\0"))
    (answer,) = fsck.check(state, [BOOT])
    assert (answer.kind, answer.says) == ("vfat", ("not checked: fsck.vfat is not installed",))
