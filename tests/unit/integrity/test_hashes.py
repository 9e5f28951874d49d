"""Object ids, checked by ostree, and the memory that makes a second look cheap."""

from __future__ import annotations

from hashlib import sha256

import pytest

from powercut.disk.blocks import Blocks
from powercut.integrity.ext4 import Ext4
from powercut.integrity.hashes import FileHashes, Memo, object_id
from powercut.integrity.journal import reader
from powercut.integrity.partitions import Partition

from .conftest import BIG_FILE, ENV_AT, ROOT_AT, Device, flip

ROOT = Partition(2, ROOT_AT, ENV_AT - ROOT_AT)
# Recorded: `ostree ls -C` (2022.7, repository of mode bare) of files whose attributes were set by setxattr(2).
WITH_ATTRIBUTES = [
    pytest.param(((b"user.a", b"1"),), "82d9ff87df6e5207c5ae7e78e13d77749a728f6a971c7a207ff7cf69fca8a220", id="one"),
    pytest.param(
        ((b"user.a", b"1"), (b"user.long", b"v" * 300)),
        "10c3186bac1a19ac1461f6c886ca6bbe3a0780efeb42f0d2f192c4c4d23fdd63",
        id="with wide offsets",
    ),
]


def hashes(state: Blocks, memo: Memo) -> tuple[Ext4, FileHashes]:
    fs = Ext4(reader(state, ROOT))
    return fs, FileHashes(fs, ROOT, state.changed, memo)


@pytest.mark.parametrize("path", ["/usr/bin/app", "/usr/share/big", "/lib", "/long", "/usr/etc/app/user.conf"])
def test_an_object_id_is_the_one_that_ostree_gives(device: Device, state: Blocks, path: str) -> None:
    fs, found = hashes(state, {})
    inode = fs.lookup(device.path("1.1", path), follow=False)
    assert found.object_id(inode) == device.manifests["1.1"].entries[path].checksum


@pytest.mark.parametrize(("attributes", "wanted"), WITH_ATTRIBUTES)
def test_extended_attributes_are_part_of_an_object_id(attributes: tuple[tuple[bytes, bytes], ...], wanted: str) -> None:
    assert object_id(0o100644, 0, 0, b"", attributes, b"content\n") == wanted


def test_a_sha256_is_that_of_the_content(device: Device, state: Blocks) -> None:
    fs, found = hashes(state, {})
    assert found.sha256(fs.lookup(device.path("1.0", "/usr/share/big"))) == sha256(b"1.0" + BIG_FILE).hexdigest()


def test_an_untouched_file_is_hashed_once_for_all_states(device: Device, state: Blocks) -> None:
    memo: Memo = {}
    for expected in (1, 0):
        fs, found = hashes(state, memo)
        found.object_id(fs.lookup(device.path("1.1", "/usr/share/big")))
        assert found.hashed == expected


def test_a_touched_file_is_hashed_and_not_remembered(device: Device, state: Blocks) -> None:
    memo: Memo = {}
    undamaged = state.fork()
    fs, found = hashes(undamaged, memo)
    good = found.object_id(fs.lookup(device.path("1.1", "/usr/share/big")))
    flip(state, device.content_at(ROOT_AT, device.path("1.1", "/usr/share/big")) + 4096)
    fs, found = hashes(state, memo)
    assert found.object_id(fs.lookup(device.path("1.1", "/usr/share/big"))) != good
    assert found.hashed == 1
    fs, found = hashes(undamaged, memo)
    assert found.object_id(fs.lookup(device.path("1.1", "/usr/share/big"))) == good
    assert found.hashed == 0


def test_a_remembered_hash_does_not_hide_other_metadata(device: Device, state: Blocks) -> None:
    memo: Memo = {}
    fs, found = hashes(state, memo)
    good = found.object_id(fs.lookup(device.path("1.1", "/usr/bin/app")))
    flip(state, device.inode_at(ROOT_AT, device.path("1.1", "/usr/bin/app")))
    fs, found = hashes(state, memo)
    assert found.object_id(fs.lookup(device.path("1.1", "/usr/bin/app"))) != good
