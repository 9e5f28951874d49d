"""Partition tables as sfdisk writes them, and damaged ones."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from powercut.disk.blocks import Blocks
from powercut.integrity.damage import Damaged
from powercut.integrity.partitions import Partition, partitions

from .conftest import MIB, flip

SIZE = 16 * MIB
MBR = "label: dos\nstart=2048, size=2048, type=83\nstart=4096, size=4096, type=c\n"
LOGICAL = MBR + "start=8192, size=16384, type=5\nstart=10240, size=2048, type=83\nstart=14336, size=2048, type=83\n"
GPT = "label: gpt\nstart=2048, size=2048\nstart=4096, size=4096\n"


Partitioned = Callable[[str], Blocks]


@pytest.fixture(scope="module")
def partitioned(tmp_path_factory: pytest.TempPathFactory) -> Partitioned:
    """A disk that sfdisk partitioned by a script; it runs once for each, since it waits for devices to settle."""

    @cache
    def run(script: str) -> bytes:
        image = tmp_path_factory.mktemp("table") / "disk.raw"
        image.write_bytes(bytes(SIZE))
        subprocess.run(["sfdisk", "-q", image], input=script, text=True, check=True, capture_output=True, timeout=30)
        return image.read_bytes()

    return lambda script: Blocks(run(script))


@pytest.mark.parametrize("script", [MBR, GPT])
def test_partitions_are_numbered_and_placed_as_the_kernel_has_them(partitioned: Partitioned, script: str) -> None:
    assert partitions(partitioned(script).read, SIZE) == (
        Partition(1, MIB, MIB),
        Partition(2, 2 * MIB, 2 * MIB),
    )


def test_logical_partitions_count_from_5(partitioned: Partitioned) -> None:
    found = partitions(partitioned(LOGICAL).read, SIZE)
    assert [(partition.number, partition.offset // MIB) for partition in found] == [(1, 1), (2, 2), (5, 5), (6, 7)]


@pytest.mark.parametrize("content", [bytes(SIZE), bytes(54) + b"FAT16   ".ljust(456, b"\0") + b"\x55\xaa"])
def test_a_disk_without_a_table_is_one_partition(content: bytes) -> None:
    assert partitions(Blocks(content).read, SIZE) == (Partition(0, 0, SIZE),)


def test_a_partition_behind_the_end_is_damage(partitioned: Partitioned) -> None:
    with pytest.raises(Damaged, match="partition 2 with 4096 sectors"):
        partitions(partitioned(MBR).read, 3 * MIB)


@pytest.mark.parametrize("at", [512 + 8, 512 + 60, 1024 + 40])
def test_a_damaged_gpt_is_read_from_its_backup(partitioned: Partitioned, at: int) -> None:
    blocks = partitioned(GPT)
    flip(blocks, at)
    assert len(partitions(blocks.read, SIZE)) == 2


def test_a_gpt_damaged_in_both_places_is_damage(partitioned: Partitioned) -> None:
    blocks = partitioned(GPT)
    flip(blocks, 512 + 60)
    flip(blocks, SIZE - 512 + 60)
    with pytest.raises(Damaged, match="wrong checksum"):
        partitions(blocks.read, SIZE)


def test_a_chain_of_logical_partitions_without_end_is_damage(partitioned: Partitioned) -> None:
    blocks = partitioned(LOGICAL)
    blocks.write(8192 * 512 + 446 + 16 + 8, bytes(4))  # the first table names itself as the next
    with pytest.raises(Damaged, match="more than 64"):
        partitions(blocks.read, SIZE)


@pytest.fixture(params=[LOGICAL, GPT], ids=["logical", "gpt"])
def table(partitioned: Partitioned, request: pytest.FixtureRequest) -> Blocks:
    return partitioned(request.param)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=1000)
@given(flips=st.lists(st.tuples(st.integers(446, 2048), st.integers(1, 255)), min_size=1, max_size=8))
def test_any_damage_is_damage(table: Blocks, flips: list[tuple[int, int]]) -> None:
    blocks = table.fork()
    for at, change in flips:
        flip(blocks, at, change)
    try:
        found = partitions(blocks.read, SIZE)
    except Damaged:
        return
    assert all(partition.offset + partition.length <= SIZE for partition in found)
