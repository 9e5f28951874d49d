"""The states that a disk went through, on real logs."""

from __future__ import annotations

from powercut.disk.blocks import Blocks
from powercut.disk.steps import between

from .conftest import DISK_BYTES, Recorder

PLACES = ((8192, 512), (16384, 512))


def states(record: Recorder, *commands: str, since: int = 0, at_most: int = 9) -> list[tuple[int, bytes]]:
    """What is at each place, and at 64k, in each of the states."""
    log = record(*commands)
    found = between(Blocks(bytes(DISK_BYTES)), (log,), since, PLACES, at_most)
    return [(number, b"".join(now.read(at, 1) for at in (8192, 16384, 65536))) for number, now in found]


WRITES = ("write -P 1 8k 512", "write -P 9 64k 512", "flush", "write -P 2 16k 512", "write -P 3 4k 8k")


def test_the_disk_is_seen_before_each_write_to_a_place_and_after_the_last(record: Recorder) -> None:
    assert states(record, *WRITES) == [
        (0, b"\0\0\0"),
        (1, b"\1\0\x09"),
        (2, b"\1\2\x09"),
        (3, b"\3\2\x09"),
    ]


def test_what_was_written_before_is_no_step(record: Recorder) -> None:
    assert [number for number, _ in states(record, *WRITES, since=3)] == [0, 1, 2]


def test_without_a_write_to_a_place_there_is_one_state(record: Recorder) -> None:
    assert states(record, "write -P 9 64k 512") == [(0, b"\0\0\x09")]


def test_of_too_many_the_first_are_seen(record: Recorder) -> None:
    assert [number for number, _ in states(record, *WRITES, at_most=1)] == [0, 1]
