"""The copy-on-write view of a base image."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.disk.blocks import Blocks, open_blocks
from powercut.errors import UsageError

ODD_SIZE = 3 * 4096 + 512
BASE = bytes(i * 7 % 251 for i in range(ODD_SIZE))
writes = st.lists(
    st.tuples(st.integers(0, ODD_SIZE - 1), st.binary(min_size=1, max_size=9000)).map(
        lambda pair: (pair[0], pair[1][: ODD_SIZE - pair[0]])
    ),
    max_size=8,
)


@given(writes)
def test_it_reads_like_a_file_that_was_written_to(writes: list[tuple[int, bytes]]) -> None:
    model, blocks = bytearray(BASE), Blocks(BASE)
    for offset, data in writes:
        model[offset : offset + len(data)] = data
        blocks.write(offset, data)
    assert blocks.read(0, ODD_SIZE) == model
    assert blocks.read(4000, 500) == model[4000:4500]


@given(st.integers(0, ODD_SIZE), st.integers(0, ODD_SIZE))
def test_zeros_reach_exactly_over_their_range(offset: int, length: int) -> None:
    length = min(length, ODD_SIZE - offset)
    blocks = Blocks(BASE)
    blocks.zero(offset, length)
    assert blocks.read(0, ODD_SIZE) == BASE[:offset] + bytes(length) + BASE[offset + length :]


def test_a_single_sector_is_merged_into_its_block() -> None:
    blocks = Blocks(BASE)
    blocks.write(4096 + 512, b"s" * 512)
    assert set(blocks.changed) == {1}
    assert blocks.read(4096, 4096) == BASE[4096:4608] + b"s" * 512 + BASE[5120:8192]


def test_reading_behind_the_end_gives_what_there_is() -> None:
    blocks = Blocks(BASE)
    blocks.write(ODD_SIZE - 1, b"!")
    assert blocks.read(ODD_SIZE - 1, 100) == b"!"
    assert blocks.read(ODD_SIZE, 100) == b""
    assert blocks.read(1 << 50, 100) == b""


def test_writing_behind_the_end_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Blocks(BASE).write(ODD_SIZE, b"!")


def test_a_child_does_not_change_its_parent() -> None:
    parent = Blocks(BASE)
    parent.write(0, b"parent")
    child = parent.fork()
    child.write(0, b"child!")
    assert parent.read(0, 6) == b"parent"
    assert child.read(0, 6) == b"child!"


def test_views_are_equal_when_their_content_is() -> None:
    one, other = Blocks(BASE), Blocks(BASE)
    one.write(0, BASE[:4096])
    assert one.equals(other)
    other.write(8192, b"!")
    assert not one.equals(other)


def test_an_image_is_never_changed_on_disk(tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(BASE)
    with open_blocks(image) as blocks:
        blocks.write(0, b"changed")
        assert blocks.read(0, 7) == b"changed"
    assert image.read_bytes() == BASE


@pytest.mark.parametrize("content", [None, b""])
def test_no_image_is_the_users_mistake(tmp_path: Path, content: bytes | None) -> None:
    image = tmp_path / "disk.raw"
    _ = content is None or image.write_bytes(content)
    with pytest.raises(UsageError, match=r"disk\.raw"), open_blocks(image):
        pass
