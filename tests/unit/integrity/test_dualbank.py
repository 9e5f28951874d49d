"""A disk with two slots, made by mke2fs and sfdisk: what each state of it is judged to be."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from powercut.disk.blocks import Blocks, open_blocks
from powercut.environment import BootEnvironment, Slots
from powercut.errors import UsageError
from powercut.integrity.dualbank import DualBankJudge
from powercut.integrity.ext4 import Ext4
from powercut.integrity.slotimage import SlotRelease, blocks_of, files_of, ranges
from powercut.model import PathDiff

from .conftest import MIB, flip, mke2fs

ENV_AT, A_AT, B_AT, DATA_AT, DISK_END = MIB, 2 * MIB, 6 * MIB, 10 * MIB, 14 * MIB
SLOT_MIB = 4
NO_JOURNAL = ("-t", "ext4", "-b", "4096", "-O", "^has_journal")
SLOTS = Slots(A=2, B=3, data=4, etc="/etc")
ENVIRONMENT = BootEnvironment(partition=1, file="/grubenv", backup="/grubenv.bak")
CONFIRMED = "ORDER=A B\nA_OK=1\nA_TRY=0\nA_GOOD=1\nA_FAIL=0\nB_OK=0\nB_TRY=0\nB_GOOD=0\nB_FAIL=0\n"
NEW = CONFIRMED.replace("ORDER=A B", "ORDER=B A").replace("B_OK=0", "B_OK=1")


def block(variables: str) -> bytes:
    return f"# GRUB Environment Block\n{variables}".encode().ljust(1024, b"#")


@dataclass(frozen=True)
class Disk:
    """1.0 runs in slot A, slot B is empty; `images` are the slots by release."""

    image: Path
    images: dict[str, bytes]
    releases: tuple[SlotRelease, ...]
    main_at: int
    backup_at: int


@pytest.fixture(scope="session")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    folder = tmp_path_factory.mktemp("dual")
    images, releases = {}, []
    for version in ("1.0", "1.1"):
        tree = folder / version
        for name in ("boot", "usr/bin", "etc"):
            (tree / name).mkdir(parents=True)
        (tree / "boot/vmlinuz").write_bytes(f"kernel {version} ".encode() * 4000)
        (tree / "usr/bin/app").write_text(version * 3000)
        mke2fs(folder / f"{version}.img", SLOT_MIB, tree, *NO_JOURNAL)
        images[version] = (folder / f"{version}.img").read_bytes()
        releases.append(_release(version, images[version]))
    contents: dict[str, dict[str, str]] = {"env": {"grubenv": CONFIRMED, "grubenv.bak": CONFIRMED}, "data": {}}
    for name, files in contents.items():
        place = folder / name
        place.mkdir()
        for copy, variables in files.items():
            (place / copy).write_bytes(block(variables))
    for path, text in {"var/lib/app": "the user's data\n", "etc/app.conf": "changed\n"}.items():
        (folder / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "data" / path).write_text(text)
    mke2fs(folder / "env.img", 1, folder / "env", "-t", "ext2", "-b", "1024", "-O", "none", "-N", "16")
    mke2fs(folder / "data.img", SLOT_MIB, folder / "data", "-t", "ext4", "-b", "1024", "-J", "size=1")
    image = folder / "disk.raw"
    with image.open("wb") as file:
        file.truncate(DISK_END + MIB)
    table = ["label: gpt"]
    for start, end in ((ENV_AT, A_AT), (A_AT, B_AT), (B_AT, DATA_AT), (DATA_AT, DISK_END)):
        table.append(f"start={start // 512}, size={(end - start) // 512}")
    subprocess.run(
        ["sfdisk", "-q", "--no-tell-kernel", "--no-reread", image], input="\n".join(table), text=True, check=True
    )
    env = (folder / "env.img").read_bytes()
    with image.open("r+b") as file:
        for at, part in ((ENV_AT, env), (A_AT, images["1.0"]), (DATA_AT, (folder / "data.img").read_bytes())):
            file.seek(at)
            file.write(part)
    with open_blocks(image) as blocks:
        main, backup = (_place(blocks, name) for name in ("/grubenv", "/grubenv.bak"))
    return Disk(image, images, tuple(releases), main, backup)


def _release(version: str, image: bytes) -> SlotRelease:
    fs = Ext4(lambda offset, length: image[offset : offset + length])
    return SlotRelease(version, blocks_of([image]), lambda: files_of(fs, version))


def _place(blocks: Blocks, name: str) -> int:
    fs = Ext4(lambda offset, length: blocks.read(ENV_AT + offset, length))
    return ENV_AT + fs.extents(fs.lookup(name))[0].physical * 1024


@pytest.fixture
def state(disk: Disk) -> Iterator[Blocks]:
    with open_blocks(disk.image) as blocks:
        yield blocks


@pytest.fixture(scope="session")
def judge(disk: Disk) -> Iterator[DualBankJudge]:
    kept = ("/var/lib/app", "/etc/app.conf", "/etc/none")
    judge = DualBankJudge(disk.image, disk.releases, SLOTS, ENVIRONMENT, kept=kept)
    yield judge
    judge.close()


def installed(disk: Disk, state: Blocks, variables: str = NEW) -> Blocks:
    """1.1 in slot B, as the boot loader is told."""
    state.write(B_AT, disk.images["1.1"])
    state.write(disk.main_at, block(variables))
    return state


def test_an_undamaged_disk_is_one_release_and_the_slot_that_is_not_ok_does_not_count(
    judge: DualBankJudge, state: Blocks
) -> None:
    view = judge.look(state)
    assert view.problems == ()
    assert [(system.deployment, system.release, system.complete) for system in view.systems] == [
        ("slot A", "1.0", True)
    ]
    assert (view.chosen, view.confirmed) == (view.systems[0], "slot A")
    assert [fs.clean for fs in view.filesystems] == [True, True]
    assert view.kept == (("/var/lib/app", "the user's data\n"), ("/etc/app.conf", "changed\n"), ("/etc/none", None))


def test_a_new_release_is_whole_and_boots(disk: Disk, judge: DualBankJudge, state: Blocks) -> None:
    view = judge.look(installed(disk, state))
    assert [(system.release, system.complete) for system in view.systems] == [("1.0", True), ("1.1", True)]
    assert view.chosen is not None and view.chosen.release == "1.1"
    assert view.confirmed == "slot A"
    assert judge.default_deployment(state) == "slot B"


def test_a_half_written_slot_that_may_boot_is_a_mix(disk: Disk, judge: DualBankJudge, state: Blocks) -> None:
    """What `rauc status mark-active` takes, what boots, and what passes its health check."""
    installed(disk, state)
    at = disk.images["1.1"].index(b"1.11.11.1")
    state.write(B_AT + at, disk.images["1.0"][at:])
    half = judge.look(state).systems[1]
    assert (half.release, half.complete) == ("1.1", False)
    assert half.differing > 0 and "block" in half.differs[0].path


def test_a_half_written_slot_that_is_not_ok_is_nobodys(disk: Disk, judge: DualBankJudge, state: Blocks) -> None:
    state.write(B_AT, disk.images["1.1"][: MIB // 2])
    assert [system.deployment for system in judge.look(state).systems] == ["slot A"]


@pytest.mark.parametrize("byte", [0, MIB + 5, SLOT_MIB * MIB - 1])
def test_one_bit_of_a_slot_is_found(judge: DualBankJudge, state: Blocks, byte: int) -> None:
    flip(state, A_AT + byte)
    (system,) = judge.look(state).systems
    assert (system.release, system.differing) == ("1.0", 1)
    assert system.differs == (PathDiff(f"block {byte // 4096}", "content differs"),)


def test_by_files_what_a_mount_changes_does_not_count_and_a_file_does(disk: Disk, state: Blocks) -> None:
    by_files = DualBankJudge(disk.image, disk.releases, replace(SLOTS, compare="files"), ENVIRONMENT)
    mounts_at = A_AT + 1024 + 52  # the super block counts mounts
    state.write(mounts_at, b"\x07\x00")
    assert by_files.look(state).systems[0].complete
    at = state.read(A_AT, SLOT_MIB * MIB).index(b"1.01.01.0")
    flip(state, A_AT + at)
    (system,) = by_files.look(state).systems
    assert system.release == "1.0"
    assert [diff.path for diff in system.differs] == ["/usr/bin/app"]
    by_files.close()


def test_a_slot_that_is_no_file_system_is_told_by_files(disk: Disk, state: Blocks) -> None:
    by_files = DualBankJudge(disk.image, disk.releases, replace(SLOTS, compare="files"), ENVIRONMENT)
    state.write(A_AT, bytes(MIB))
    (system,) = by_files.look(state).systems
    assert (system.release, system.complete) == (None, False)
    by_files.close()


@pytest.mark.parametrize("torn", [b"", bytes(1024)])
def test_a_damaged_environment_is_read_from_its_copy(
    disk: Disk, judge: DualBankJudge, state: Blocks, torn: bytes
) -> None:
    installed(disk, state)
    state.write(disk.main_at, torn.ljust(1024, b"\0"))
    view = judge.look(state)
    assert view.problems == ()
    assert view.chosen is not None and view.chosen.release == "1.0"  # what the copy still says


def test_two_damaged_environments_are_told(disk: Disk, judge: DualBankJudge, state: Blocks) -> None:
    for at in (disk.main_at, disk.backup_at):
        state.write(at, bytes(1024))
    assert any("begins" in problem for problem in judge.look(state).problems)


def test_a_variable_that_is_gone_is_told(disk: Disk, judge: DualBankJudge, state: Blocks) -> None:
    state.write(disk.main_at, block(CONFIRMED.replace("B_FAIL=0\n", "")))
    assert judge.look(state).problems == ("environment block lacks B_FAIL",)


def test_a_slot_without_a_kernel_is_not_what_boots(disk: Disk, judge: DualBankJudge, state: Blocks) -> None:
    state.write(disk.main_at, block(NEW))
    view = judge.look(state)  # slot B holds zeros
    assert view.chosen is not None and view.chosen.deployment == "slot A"
    assert [system.complete for system in view.systems] == [True, False]


def test_another_partition_table_is_told(judge: DualBankJudge, state: Blocks) -> None:
    for sector in (1, 2, DISK_END // 512 + 2047):
        state.write(sector * 512, bytes(512))
    assert "partition table" in judge.look(state).problems[0]
    assert judge.default_deployment(state) is None


@pytest.mark.parametrize(
    ("slots", "environment", "said"),
    [
        (replace(SLOTS, B=9), ENVIRONMENT, r"no partition 9\n|there is no partition 9"),
        (SLOTS, replace(ENVIRONMENT, partition=8), "there is no partition 8"),
        (SLOTS, replace(ENVIRONMENT, file="/none", backup=None), "can't be read"),
    ],
)
def test_an_image_that_is_not_as_it_is_said_to_be_is_refused(
    disk: Disk, slots: Slots, environment: BootEnvironment, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        DualBankJudge(disk.image, disk.releases, slots, environment)


def test_ranges_of_blocks_are_told_as_such() -> None:
    assert [diff.path for diff in ranges([1, 2, 3, 7])] == ["blocks 1 to 3", "block 7"]
    assert len(list(ranges(range(0, 1000, 2)))) == 20


@pytest.mark.parametrize("size", [1, 1000, 4096, 10_000])
def test_a_list_of_blocks_is_the_same_in_pieces_of_any_size(disk: Disk, size: int) -> None:
    image = disk.images["1.0"][: 8 * 4096]
    assert blocks_of(image[at : at + size] for at in range(0, len(image), size)) == blocks_of([image])


def recorded(disk: Disk, folder: Path, *writes: tuple[int, int]) -> Path:
    """A log as QEMU writes it, of writes to the disk, each (offset, length)."""
    copy, log = folder / "copy.raw", folder / "disk.log"
    shutil.copy(disk.image, copy)
    log.touch()
    options = f"driver=blklogwrites,file.driver=file,file.filename={copy},log.driver=file,log.filename={log}"
    commands = [argument for at, length in writes for argument in ("-c", f"write {at} {length}")]
    subprocess.run(
        ["qemu-io", "-t", "writeback", "--image-opts", options, *commands], check=True, capture_output=True, timeout=30
    )
    return log


def test_writes_are_counted_by_where_they_went(disk: Disk, judge: DualBankJudge, tmp_path: Path) -> None:
    log = recorded(disk, tmp_path, (A_AT + 512, 512), (B_AT, 4096), (B_AT + 8192, 512), (0, 512), (ENV_AT, 512))
    assert judge.system_writes([log], 0) == {"slot A": 1, "slot B": 2, "elsewhere": 1}
    assert judge.system_writes([log], 3) == {"slot A": 0, "slot B": 0, "elsewhere": 1}
    assert (judge.boot_writes([log], 0), judge.boot_writes([log], 5)) == (1, 0)
