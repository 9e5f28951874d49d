"""Overlays are checked by QEMU's own tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from powercut.disk.blocks import Blocks, open_blocks
from powercut.disk.qcow2 import write_overlay
from powercut.errors import UsageError


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True, timeout=30)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A sparse disk large enough for two L2 tables, with no whole cluster at its end."""
    path = tmp_path / "base.raw"
    with path.open("wb") as file:
        file.write(b"base" * 50_000)
        file.truncate((512 << 20) + (80 << 10) + 512)
    return path


def expected(tmp_path: Path, blocks: Blocks) -> Path:
    path = tmp_path / "expected.raw"
    with path.open("wb") as file:
        file.write(blocks.read(0, 1 << 20))
        for number in sorted(blocks.changed):
            file.seek(number * 4096)
            file.write(blocks.read(number * 4096, 4096))
        file.truncate(blocks.size)
    return path


def test_an_overlay_reads_as_the_state_it_was_written_from(tmp_path: Path, base: Path) -> None:
    overlay = tmp_path / "state.qcow2"
    with open_blocks(base) as blocks:
        blocks.write(10, b"in the middle of the first cluster")
        blocks.write(60 << 10, b"over the border of two clusters" * 400)
        blocks.write((512 << 20) + 100, b"in the second table")
        blocks.write(blocks.size - 3, b"end")
        write_overlay(overlay, blocks, base)
        wanted = expected(tmp_path, blocks)
    qemu_img("check", "-f", "qcow2", overlay)
    qemu_img("compare", "-f", "raw", "-F", "qcow2", wanted, overlay)


def test_a_state_equal_to_its_base_is_an_empty_overlay(tmp_path: Path, base: Path) -> None:
    overlay = tmp_path / "state.qcow2"
    with open_blocks(base) as blocks:
        write_overlay(overlay, blocks, base)
    qemu_img("check", "-f", "qcow2", overlay)
    qemu_img("compare", "-f", "raw", "-F", "qcow2", base, overlay)


def test_an_overlay_can_lie_over_a_qcow2_base(tmp_path: Path, base: Path) -> None:
    backing, overlay = tmp_path / "base.qcow2", tmp_path / "state.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", base, backing)
    with open_blocks(base) as blocks:
        write_overlay(overlay, blocks, backing, "qcow2")
    qemu_img("check", "-f", "qcow2", overlay)
    qemu_img("compare", "-f", "raw", "-F", "qcow2", base, overlay)


def test_a_backing_path_that_qcow2_cannot_hold_is_refused(tmp_path: Path, base: Path) -> None:
    with open_blocks(base) as blocks, pytest.raises(UsageError, match="too long"):
        write_overlay(tmp_path / "state.qcow2", blocks, Path("/" + "x" * 1024))
