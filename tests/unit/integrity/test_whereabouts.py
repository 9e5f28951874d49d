"""A write is called by what lies there: against file systems by mke2fs, as debugfs tells where their blocks are."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from powercut.disk.blocks import Blocks, open_blocks
from powercut.integrity.whereabouts import MOST_NAMES, Whereabouts

from .conftest import BOOT_AT, ENV_AT, MIB, ROOT_AT, Device, debugfs, flip, mke2fs, run

WIDTH = 1024
BLOCKS = 16 * MIB // WIDTH
DISK = "disk without a partition table"
MAGIC = 0xC03B3998
MakeDisk = Callable[..., Blocks]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file system without a table, in groups of 8192 blocks of 1 KiB, with one of each that has blocks."""
    folder = tmp_path_factory.mktemp("whereabouts")
    tree = folder / "tree"
    (tree / "b").mkdir(parents=True)
    (tree / "b/file").write_bytes(b"x" * 9000)
    (tree / "c").hardlink_to(tree / "b/file")
    (tree / "link").symlink_to("/" + "far" * 60)
    (tree / "two\nlines").write_bytes(b"y" * 5000)
    with open(os.fsencode(tree) + b"/caf\xe9", "wb") as file:
        file.write(b"z" * 5000)
    image = folder / "disk.img"
    mke2fs(image, 16, tree, "-t", "ext4", "-b", str(WIDTH))
    debugfs(image, 0, f"ea_set /c user.long {'v' * 900}")
    return image


@pytest.fixture
def disk(image: Path) -> Iterator[Blocks]:
    with open_blocks(image) as blocks:
        yield blocks


@pytest.fixture
def whereabouts(disk: Blocks) -> Whereabouts:
    return Whereabouts(disk)


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """A disk of which only what is given differs from zeros."""
    with ExitStack() as opened:

        def make(size: int, *pieces: tuple[int, bytes]) -> Blocks:
            path = tmp_path / "made.img"
            path.write_bytes(bytes(size))
            blocks = opened.enter_context(open_blocks(path))
            for at, piece in pieces:
                blocks.write(at, piece)
            return blocks

        yield make


def blocks_of(image: Path, path: str) -> list[int]:
    return [int(number) for number in debugfs(image, 0, f"blocks {path}").split("\n", 1)[1].split()]


def told(image: Path, pattern: str) -> list[int]:
    """Numbers that dumpe2fs tells, group by group."""
    said = subprocess.run(["dumpe2fs", image], check=True, capture_output=True, text=True, timeout=60).stdout
    return [int(number) for number in re.findall(pattern, said)]


def at(whereabouts: Whereabouts, block: int, count: int = 1) -> str:
    return whereabouts.of(block * WIDTH, count * WIDTH).removeprefix(f"{DISK}: ")


def test_each_block_of_a_file_has_its_first_name(image: Path, whereabouts: Whereabouts) -> None:
    assert {at(whereabouts, block) for block in blocks_of(image, "/c")} == {"/b/file"}


@pytest.mark.parametrize(
    ("path", "name"), [("/", "/"), ("/b", "/b"), ("/lost+found", "/lost+found"), ("/link", "/link")]
)
def test_directories_and_long_links_have_blocks_of_their_own(
    image: Path, whereabouts: Whereabouts, path: str, name: str
) -> None:
    first = blocks_of(image, path)[0]
    assert at(whereabouts, first) == name


def test_attributes_that_do_not_fit_an_inode_are_called_after_the_first_name(
    image: Path, whereabouts: Whereabouts
) -> None:
    (block,) = map(int, re.findall(r"File ACL: (\d+)", debugfs(image, 0, "stat /c")))
    assert at(whereabouts, block) == "attributes of /b/file"


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (r"Block bitmap at (\d+)", "block bitmap"),
        (r"Inode bitmap at (\d+)", "inode bitmap"),
        (r"Inode table at (\d+)", "inode table"),
        (r"Inode table at \d+-(\d+)", "inode table"),
        (r"Primary superblock at (\d+)", "super block"),
        (r"Primary superblock at \d+, Group descriptors at (\d+)", "group descriptors"),
        (r"Backup superblock at (\d+)", "copy of the super block"),
        (r"Backup superblock at \d+, Group descriptors at (\d+)", "copy of the group descriptors"),
        (r"Reserved GDT blocks at (\d+)", "in use, under no name"),
    ],
)
def test_metadata_is_called_by_its_kind(image: Path, whereabouts: Whereabouts, pattern: str, name: str) -> None:
    found = told(image, pattern)
    assert found
    assert {at(whereabouts, block) for block in found} == {name}


def test_what_no_file_has_is_free(image: Path, whereabouts: Whereabouts) -> None:
    free = told(image, r"Free blocks: (\d+)-")
    assert len(free) == 2
    assert {at(whereabouts, block) for block in free} == {"free or deleted"}
    assert at(whereabouts, free[0] - 1) != "free or deleted"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(block=st.integers(0, BLOCKS - 1))
def test_a_block_is_free_just_where_debugfs_says_so(whereabouts: Whereabouts, used: frozenset[int], block: int) -> None:
    assert (at(whereabouts, block) != "free or deleted") == (block in used)


@pytest.fixture(scope="module")
def used(image: Path) -> frozenset[int]:
    """All blocks but those that dumpe2fs lists as free; block 0 holds the boot sector."""
    said = run("dumpe2fs", image)
    free: set[int] = set()
    for listed in re.findall(r"Free blocks: (.+)", said):
        for first, _, last in (part.strip().partition("-") for part in listed.split(",")):
            free |= {*range(int(first), int(last or first) + 1)}
    return frozenset(range(BLOCKS)) - free


def test_a_name_is_one_line_in_any_encoding(image: Path, whereabouts: Whereabouts) -> None:
    names = {at(whereabouts, block) for block in range(BLOCKS)}
    assert {r"/caf\xe9", r"/two\nlines"} <= names
    assert all(name.isprintable() and name.encode() for name in names)


def test_a_write_over_many_is_called_by_the_first_and_the_number_of_the_others(
    image: Path, whereabouts: Whereabouts
) -> None:
    said = whereabouts.of(0, BLOCKS * WIDTH)
    others = len({at(whereabouts, block) for block in range(BLOCKS)}) - MOST_NAMES
    assert said == f"{DISK}: super block, group descriptors, in use, under no name, {others} more"


def test_a_sector_counts_for_the_block_that_it_lies_in(image: Path, whereabouts: Whereabouts) -> None:
    block = blocks_of(image, "/c")[0]
    assert whereabouts.of(block * WIDTH + 512, 512) == f"{DISK}: /b/file"
    assert whereabouts.of(block * WIDTH - 512, 1024) == f"{DISK}: {at(whereabouts, block - 1)}, /b/file"


@pytest.mark.parametrize(
    ("kind", "name"), [(1, "descriptor"), (2, "commit"), (3, "super block"), (4, "super block"), (5, "revoke block")]
)
def test_what_is_written_to_the_journal_tells_what_it_is(
    image: Path, whereabouts: Whereabouts, kind: int, name: str
) -> None:
    block = blocks_of(image, "<8>")[3]
    payload = struct.pack(">3I", MAGIC, kind, 77).ljust(WIDTH, b"\0")
    assert whereabouts.of(block * WIDTH, WIDTH, payload) == f"{DISK}: journal ({name}, transaction 77)"


def test_each_block_of_one_write_to_the_journal_is_read_by_itself(image: Path, whereabouts: Whereabouts) -> None:
    block = blocks_of(image, "<8>")[3]
    parts = (struct.pack(">3I", MAGIC, kind, 8).ljust(WIDTH, b"\0") for kind in (1, 9, 2))
    said = whereabouts.of(block * WIDTH, 3 * WIDTH, b"".join(parts))
    assert said == f"{DISK}: journal (descriptor, transaction 8), journal, journal (commit, transaction 8)"


@pytest.mark.parametrize("payload", [b"", b"\0" * WIDTH, struct.pack(">2I", MAGIC, 2)])
def test_other_blocks_of_the_journal_are_the_journal(image: Path, whereabouts: Whereabouts, payload: bytes) -> None:
    assert whereabouts.of(blocks_of(image, "<8>")[3] * WIDTH, WIDTH, payload) == f"{DISK}: journal"


def test_the_middle_of_a_block_is_no_beginning(image: Path, whereabouts: Whereabouts) -> None:
    block = blocks_of(image, "<8>")[3]
    payload = struct.pack(">3I", MAGIC, 2, 77).ljust(512, b"\0")
    assert whereabouts.of(block * WIDTH + 512, 512, payload) == f"{DISK}: journal"


def test_a_file_that_this_state_no_longer_has_is_free_or_deleted(image: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.img"
    copy.write_bytes(image.read_bytes())
    block = blocks_of(image, "/c")[0]
    debugfs(copy, 0, "rm /b/file", "rm /c")
    with open_blocks(copy) as blocks:
        assert at(Whereabouts(blocks), block) == "free or deleted"


def test_partitions_are_told_apart(device: Device, state: Blocks) -> None:
    whereabouts = Whereabouts(state)
    assert whereabouts.of(0, 512) == "partition table"
    assert whereabouts.of(512, 512) == "outside of the partitions"
    assert whereabouts.of(BOOT_AT + 1024, 1024) == "partition 1: super block"
    assert whereabouts.of(device.content_at(ENV_AT, "/grubenv"), 1024) == "partition 3: /grubenv"
    path = device.path("1.1", "/usr/share/big")
    assert whereabouts.of(device.content_at(ROOT_AT, path), 4096) == f"partition 2: {path}"


def test_what_reaches_past_its_partition_is_called_by_what_lies_inside(state: Blocks) -> None:
    whereabouts = Whereabouts(state)
    assert whereabouts.of(ROOT_AT - 4096, 8192) == whereabouts.of(ROOT_AT - 4096, 4096)


def test_a_partition_without_a_readable_ext_file_system_is_only_numbered(state: Blocks) -> None:
    state.write(BOOT_AT + 1024 + 56, b"FA")  # no super block any more
    flip(state, ROOT_AT + 1024 + 24, 0xFF)  # a block size that can't be
    whereabouts = Whereabouts(state)
    assert [whereabouts.of(at, 4096) for at in (BOOT_AT, ROOT_AT)] == ["partition 1", "partition 2"]


def test_a_journal_that_can_not_be_replayed_here_is_no_reason_to_give_up(tmp_path: Path) -> None:
    image, tree = tmp_path / "disk.img", tmp_path / "tree"
    tree.mkdir()
    mke2fs(image, 16, tree, "-t", "ext4", "-O", "fast_commit")
    with open_blocks(image) as blocks:
        journal = int(debugfs(image, 0, "blocks <8>").split("\n", 1)[1].split()[0]) * 1024
        incompat = int.from_bytes(blocks.read(journal + 40, 4), "big")
        blocks.write(journal + 40, (incompat | 0x20).to_bytes(4, "big"))
        (recover,) = struct.unpack("<I", blocks.read(1024 + 96, 4))
        blocks.write(1024 + 96, struct.pack("<I", recover | 4))
        assert Whereabouts(blocks).of(4096, 4096) == DISK


def test_a_table_that_can_not_be_read_is_told(make_disk: MakeDisk) -> None:
    entry = struct.pack("<B3xB3xII", 0, 0x83, 1, 1 << 20)
    blocks = make_disk(MIB, (446, entry), (510, b"\x55\xaa"))
    assert (
        Whereabouts(blocks).of(4096, 512).startswith("unknown: partition 1 with 1048576 sectors at 1 is not on a disk")
    )
    assert Whereabouts(blocks).of(0, 512) == "partition table"


def test_both_ends_of_a_disk_with_a_gpt_are_its_table(make_disk: MakeDisk) -> None:
    entry = struct.pack("<B3xB3xII", 0, 0xEE, 1, MIB // 512 - 1)
    blocks = make_disk(MIB, (446, entry), (510, b"\x55\xaa"), (512, b"EFI PART"))
    whereabouts = Whereabouts(blocks)
    table = [whereabouts.of(sector * 512, 512) for sector in (0, 1, 33, 2048 - 33, 2047)]
    assert table == ["partition table"] * 5
    assert [whereabouts.of(sector * 512, 512) for sector in (34, 2048 - 34)] == [
        "unknown: no GPT header in sector 2047"
    ] * 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(offset=st.integers(0, 16 * MIB // 512 - 1), data=st.data())
def test_whatever_a_disk_holds_has_a_name(disk: Blocks, offset: int, data: st.DataObject) -> None:
    state = disk.fork()
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.sampled_from((0, 1024, 2048, 130 * WIDTH, 134 * WIDTH, 1158 * WIDTH)))
        state.write(place + 4 * data.draw(st.integers(0, 250)), data.draw(st.binary(min_size=4, max_size=16)))
    said = Whereabouts(state).of(offset * 512, 512)
    assert said
    assert said.isprintable()
