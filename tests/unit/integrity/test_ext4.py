"""The file system reader against what mke2fs and debugfs wrote, in every format that devices use."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powercut.disk.blocks import Blocks
from powercut.integrity.damage import Damaged, Missing
from powercut.integrity.ext4 import Ext4, Inode
from powercut.integrity.xattrs import xattrs

from .conftest import debugfs, flip, mke2fs

FORMATS = {
    "ext4": ("-t", "ext4", "-b", "4096"),
    "ext4 with all": ("-t", "ext4", "-b", "4096", "-O", "64bit,metadata_csum,large_dir"),
    "ext4 as of GRUB": ("-t", "ext4", "-b", "4096", "-O", "^has_journal,^metadata_csum,^64bit"),
    "ext4 with meta groups": ("-t", "ext4", "-b", "1024", "-g", "1024", "-O", "meta_bg,^resize_inode,^flex_bg"),
    "ext4 of 1K blocks": ("-t", "ext4", "-b", "1024"),
    "ext3": ("-t", "ext3", "-b", "1024"),
    "ext2": ("-t", "ext2", "-b", "1024", "-I", "128"),
    "ext2 of GRUB's environment": ("-t", "ext2", "-b", "1024", "-O", "none"),
    "ext2 of 4K blocks": ("-t", "ext2", "-b", "4096", "-O", "^filetype"),
}


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the format stores in a way of its own."""
    root = tmp_path_factory.mktemp("tree")
    (root / "empty").touch()
    (root / "small").write_bytes(b"small")
    (root / "large").write_bytes(bytes(range(256)) * 1500)  # beyond the first indirect block of 1K blocks
    with (root / "holes").open("wb") as file:
        for piece in range(12):  # more pieces than an inode holds extents
            file.seek(piece * 40_960)
            file.write(b"%d" % piece * 4096)
        file.truncate(600_000)
    (root / "setuid").write_bytes(b"#!")
    (root / "setuid").chmod(0o4711)
    (root / "dir/inner").mkdir(parents=True)
    (root / "dir/inner/file").write_text("inner")
    (root / "many").mkdir()
    for number in range(300):
        (root / f"many/a name long enough to fill blocks {number:04d}").touch()
    (root / "short").symlink_to("dir/inner")
    (root / "absolute").symlink_to("/dir/../dir/inner")
    (root / "long").symlink_to("./" * 60 + "dir/inner")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nowhere")
    (root / "uml\u00e4ut").touch()
    os.link(root / "small", root / "hard link")
    return root


@pytest.fixture(scope="session", params=FORMATS.values(), ids=[*FORMATS])
def image(tree: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    path = tmp_path_factory.mktemp("fs") / "fs.img"
    mke2fs(path, 12, tree, *request.param)
    return path


@pytest.fixture(scope="session")
def content(image: Path) -> bytes:
    return image.read_bytes()


@pytest.fixture
def fs(content: bytes) -> Ext4:
    return Ext4(Blocks(content).read)


def described(fs: Ext4, inode: Inode) -> object:
    if inode.is_dir:
        children = fs.list_dir(inode)
        return {name: described(fs, fs.inode(children[name])) for name in children if name != "lost+found"}
    content = fs.read_link(inode) if inode.is_link else fs.read_file(inode)
    return (inode.mode, inode.uid, inode.gid, inode.size, content)


def described_by_host(path: Path) -> object:
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        return {child.name: described_by_host(child) for child in path.iterdir()}
    content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
    return (status.st_mode, status.st_uid, status.st_gid, status.st_size, content)


def test_a_file_system_reads_as_the_tree_it_was_made_from(fs: Ext4, tree: Path) -> None:
    assert described(fs, fs.lookup("/")) == described_by_host(tree)


def test_hard_links_are_one_inode(fs: Ext4) -> None:
    assert fs.lookup("/small").number == fs.lookup("/hard link").number
    assert fs.lookup("/small").links == 2


@pytest.mark.parametrize(
    "path", ["/short/file", "absolute/file", "/long/file", "/dir/./inner//file", "/dir/../dir/inner/file"]
)
def test_a_path_is_followed_through_links(fs: Ext4, path: str) -> None:
    found, inode = fs.resolve(path)
    assert found == "/dir/inner/file"
    assert fs.read_file(inode) == b"inner"


def test_dots_do_not_lead_out_of_the_top(fs: Ext4) -> None:
    assert fs.lookup("/../../dir").number == fs.lookup("/dir").number
    assert fs.lookup("/../inner/file", top=fs.lookup("/dir")).size == 5


def test_an_absolute_link_stays_below_the_top(fs: Ext4) -> None:
    with pytest.raises(Missing):
        fs.lookup("/absolute", top=fs.lookup("/dir/inner"))


def test_a_link_in_last_place_is_itself_when_asked(fs: Ext4) -> None:
    assert fs.lookup("/dangling", follow=False).is_link
    assert fs.resolve("/short", follow=False)[0] == "/short"


@pytest.mark.parametrize("path", ["/nothing", "/dangling", "/dir/nothing/file"])
def test_a_path_that_does_not_exist_is_missing(fs: Ext4, path: str) -> None:
    with pytest.raises(Missing, match="no '"):
        fs.lookup(path)


@pytest.mark.parametrize("path", ["/loop", "/small/file"])
def test_a_path_that_leads_nowhere_is_damage(fs: Ext4, path: str) -> None:
    with pytest.raises(Damaged):
        fs.lookup(path)


def test_reading_a_thing_as_another_is_damage(fs: Ext4) -> None:
    with pytest.raises(Damaged, match="no directory"):
        fs.list_dir(fs.lookup("/small"))
    with pytest.raises(Damaged, match="no symbolic link"):
        fs.read_link(fs.lookup("/small"))


def test_a_file_larger_than_its_file_system_is_damage(image: Path, tmp_path: Path) -> None:
    copy = tmp_path / "fs.img"
    copy.write_bytes(image.read_bytes())
    debugfs(copy, 0, "set_inode_field /large size 0x7fffffffffff")
    fs = Ext4(Blocks(copy.read_bytes()).read)
    with pytest.raises(Damaged):
        fs.read_file(fs.lookup("/large"))


@pytest.mark.parametrize("size", [0, 1000, 1500, 2048, 100_000])
def test_a_partition_shorter_than_its_file_system_is_damage(content: bytes, size: int) -> None:
    with pytest.raises(Damaged):
        Ext4(Blocks(content[:size] or b"\0").read)


@pytest.mark.parametrize("features", ["inline_data", "encrypt"])
def test_a_feature_that_is_not_read_is_named(tmp_path: Path, features: str) -> None:
    image, empty = tmp_path / "fs.img", tmp_path / "empty"
    empty.mkdir()
    mke2fs(image, 8, empty, "-t", "ext4", "-O", features)
    with pytest.raises(Damaged, match=features):
        Ext4(Blocks(image.read_bytes()).read)


def test_orphans_are_known_in_both_places_that_may_name_them(tmp_path: Path) -> None:
    image, empty = tmp_path / "fs.img", tmp_path / "empty"
    empty.mkdir()
    mke2fs(image, 8, empty, "-t", "ext4")
    assert not Ext4(Blocks(image.read_bytes()).read).super.has_orphans
    debugfs(image, 0, "set_super_value last_orphan 12")
    assert Ext4(Blocks(image.read_bytes()).read).super.has_orphans
    debugfs(image, 0, "set_super_value last_orphan 0", "set_super_value feature_ro_compat 0x10000")
    assert Ext4(Blocks(image.read_bytes()).read).super.has_orphans


def test_extended_attributes_are_read_from_the_inode_and_from_their_block(tmp_path: Path) -> None:
    image, folder, value = tmp_path / "fs.img", tmp_path / "tree", tmp_path / "value"
    folder.mkdir()
    (folder / "file").touch()
    value.write_bytes(b"v" * 900)
    mke2fs(image, 8, folder, "-t", "ext4", "-b", "4096")
    debugfs(image, 0, "ea_set /file user.small 1", f"ea_set -f {value} /file security.large")
    fs = Ext4(Blocks(image.read_bytes()).read)
    assert fs.lookup("/file").xattr_block
    assert xattrs(fs, fs.lookup("/file")) == ((b"security.large", b"v" * 900), (b"user.small", b"1"))
    assert xattrs(fs, fs.lookup("/")) == ()


def read_all(fs: Ext4) -> Iterator[Exception]:
    """Read everything that can be reached, once; yields each damage."""
    todo, seen = [fs.inode(2)], {2}
    while todo:
        inode = todo.pop()
        try:
            xattrs(fs, inode)
            if inode.is_dir:
                new = set(fs.list_dir(inode).values()) - seen
                seen |= new
                todo += [fs.inode(number) for number in new]
            elif inode.is_link:
                fs.read_link(inode)
            else:
                fs.read_file(inode)
        except Damaged as damage:
            yield damage


@settings(max_examples=25, deadline=2000)
@given(data=st.data())
def test_any_damage_to_metadata_is_damage_and_ends(content: bytes, data: st.DataObject) -> None:
    blocks = Blocks(content)
    undamaged = Ext4(blocks.read)
    width = undamaged.super.block_bytes
    places = [1024, *(extent.physical * width for extent in undamaged.extents(undamaged.inode(2)))]
    places += [group.inode_table * width for group in undamaged.groups[:2]]
    places += [extent.physical * width for extent in undamaged.extents(undamaged.lookup("/many"))][:2]
    places += [(undamaged.super.first_block + 1) * width]
    flips = st.lists(st.tuples(st.sampled_from(places), st.integers(0, 5000), st.integers(1, 255)), min_size=1)
    for place, inside, change in data.draw(flips):
        flip(blocks, place + inside, change)
    try:
        fs = Ext4(blocks.read)
        list(read_all(fs))
    except Damaged:
        pass
