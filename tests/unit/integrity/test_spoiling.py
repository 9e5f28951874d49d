"""A boot environment that is spoilt: what its file is then, and that nothing else on the disk has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from powercut.disk.blocks import Blocks, open_blocks
from powercut.environment import BootEnvironment
from powercut.errors import UsageError
from powercut.integrity.damage import Damaged
from powercut.integrity.ext4 import Ext4
from powercut.integrity.spoiling import Spoil, places, spoilt

from .conftest import ENV_AT, ENVIRONMENT, MIB, Device


@pytest.fixture
def blocks(device: Device) -> Iterator[Blocks]:
    with open_blocks(device.image) as blocks:
        yield blocks


def content(blocks: Blocks) -> bytes:
    fs = Ext4(lambda offset, length: blocks.read(ENV_AT + offset, length))
    return fs.read_file(fs.lookup(ENVIRONMENT.file))


def torn(raw: bytes) -> bool:
    return raw.startswith(b"# GRUB Environment Block\ngood=") and raw.endswith(bytes(960)) and len(raw) == 1024


@pytest.mark.parametrize(
    ("how", "as_expected"),
    [(Spoil.TORN, torn), (Spoil.ZEROS, lambda raw: raw == bytes(1024)), (Spoil.EMPTY, lambda raw: raw == b"")],
)
def test_content_is_spoilt(blocks: Blocks, how: Spoil, as_expected: Callable[[bytes], bool]) -> None:
    state = spoilt(blocks, ENVIRONMENT, how)
    assert as_expected(content(state))
    assert content(blocks) != content(state)
    assert {number * 4096 // MIB for number in state.changed} == {ENV_AT // MIB}


def test_a_missing_file_is_gone(blocks: Blocks) -> None:
    with pytest.raises(Damaged):
        content(spoilt(blocks, ENVIRONMENT, Spoil.MISSING))


def test_it_lies_where_its_file_has_its_blocks(device: Device, blocks: Blocks) -> None:
    assert places(blocks, ENVIRONMENT) == ((device.content_at(ENV_AT, "/grubenv"), 1024),)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        (replace(ENVIRONMENT, partition=9), "there is no partition 9"),
        (replace(ENVIRONMENT, file="/none"), "none"),
        (BootEnvironment(3, "/grubenv", backup="/gone"), "gone"),
    ],
)
def test_what_is_not_there_is_told(blocks: Blocks, environment: BootEnvironment, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        places(blocks, environment)
