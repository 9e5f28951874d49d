"""The reader of disk logs, on logs that QEMU wrote and on damaged ones."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.disk.chain import open_chain
from powercut.disk.log import DiskLog, Kind, LogFollower
from powercut.errors import RigError

from .conftest import DISK_BYTES, Recorder


def entry(sector: int, sectors: int, flags: int, mark_bytes: int = 0) -> bytes:
    return struct.pack("<QQQQ", sector, sectors, flags, mark_bytes).ljust(512, b"\0")


SUPER = struct.pack("<QQQI", 0x6A736677736872, 1, 0, 512).ljust(512, b"\0")
ONE_WRITE = SUPER + entry(8, 1, 0) + b"x" * 512


def test_writes_flushes_and_discards_are_read_with_their_place_on_the_disk(record: Recorder) -> None:
    log = record("write -P 7 4k 8k", "flush", "write -P 9 512 1024", "discard 16k 4k")
    with DiskLog(log, disk_bytes=DISK_BYTES) as read:
        assert [(r.kind, r.offset, r.length) for r in read.records] == [
            (Kind.WRITE, 4096, 8192),
            (Kind.FLUSH, 0, 0),
            (Kind.WRITE, 512, 1024),
            (Kind.DISCARD, 16384, 4096),
        ]
        assert read.payload(read.records[0]) == b"\x07" * 8192
        assert read.payload(read.records[2]) == b"\x09" * 1024
        assert read.payload(read.records[3]) == b""
        assert not read.short_tail


def test_zeros_written_without_data_are_read_as_a_write_of_zeros(record: Recorder) -> None:
    with DiskLog(record("write -z 8k 4k")) as read:
        assert [(r.kind, r.offset) for r in read.records] == [(Kind.WRITE, 8192)]
        assert read.payload(read.records[0]) == bytes(4096)


def test_a_log_cut_before_the_first_flush_has_no_super_block_and_is_read_all_the_same(record: Recorder) -> None:
    log = record("write -P 1 0 4k")
    assert log.read_bytes()[:512] == bytes(512)
    with DiskLog(log) as read:
        assert len(read.records) == 1


def test_a_log_longer_than_its_super_block_says_is_read_to_its_end(record: Recorder) -> None:
    log = record("write 0 4k", "flush", "write 4k 4k", "write 8k 4k")
    assert struct.unpack_from("<Q", log.read_bytes(), 16)[0] < 4
    with DiskLog(log) as read:
        assert len(read.records) == 4


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1023])
def test_a_log_without_a_whole_entry_has_no_records(tmp_path: Path, size: int) -> None:
    log = tmp_path / "cut.log"
    log.write_bytes(ONE_WRITE[:size])
    with DiskLog(log) as read:
        assert read.records == ()


@pytest.mark.parametrize("missing", [1, 511, 512])
def test_a_half_written_last_entry_is_left_out_and_said(tmp_path: Path, missing: int) -> None:
    log = tmp_path / "cut.log"
    log.write_bytes((ONE_WRITE + entry(9, 1, 0) + b"y" * 512)[:-missing])
    with DiskLog(log) as read:
        assert len(read.records) == 1
        assert read.short_tail


def test_an_entry_that_qemu_died_before_writing_leaves_a_hole_that_is_counted(tmp_path: Path) -> None:
    log = tmp_path / "hole.log"
    log.write_bytes(ONE_WRITE + bytes(1024) + entry(9, 1, 0) + b"y" * 512)
    with DiskLog(log) as read:
        assert [read.payload(record)[:1] for record in read.records] == [b"x", b"y"]
        assert read.holes == 1


def test_zeros_at_the_end_are_a_short_tail_and_no_hole(tmp_path: Path) -> None:
    log = tmp_path / "zeros.log"
    log.write_bytes(ONE_WRITE + bytes(2048))
    with DiskLog(log) as read:
        assert (len(read.records), read.holes, read.short_tail) == (1, 0, True)


@pytest.mark.parametrize(
    ("damaged", "position"),
    [
        pytest.param(b"\1" * 512 + entry(8, 1, 0), 0, id="magic"),
        pytest.param(SUPER[:8] + b"\2" + SUPER[9:], 0, id="version"),
        pytest.param(SUPER[:24] + b"\3\2" + SUPER[26:], 0, id="sector size"),
        pytest.param(ONE_WRITE + entry(0, 1, 16) + bytes(512), 1536, id="flags"),
        pytest.param(ONE_WRITE + entry(0, 1, 0, 7) + bytes(512), 1536, id="mark"),
        pytest.param(ONE_WRITE + entry(0, 4, 1), 1536, id="flush with a length"),
        pytest.param(ONE_WRITE + entry(5, 0, 0), 1536, id="write without a length"),
        pytest.param(ONE_WRITE + entry(DISK_BYTES // 512, 1, 0), 1536, id="behind the disk"),
        pytest.param(ONE_WRITE + entry(1 << 60, 1 << 60, 4), 1536, id="impossible size"),
    ],
)
def test_a_damaged_log_names_its_file_and_the_byte(tmp_path: Path, damaged: bytes, position: int) -> None:
    log = tmp_path / "damaged.log"
    log.write_bytes(damaged)
    with pytest.raises(RigError, match=rf"damaged\.log, byte {position}: damaged disk log"):
        DiskLog(log, disk_bytes=DISK_BYTES)


@given(st.integers(0, len(ONE_WRITE) - 1), st.binary(min_size=1, max_size=40))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, at: int, garbage: bytes) -> None:
    log = tmp_path_factory.mktemp("fuzz") / "disk.log"
    log.write_bytes(ONE_WRITE[:at] + garbage + ONE_WRITE[at + len(garbage) :])
    try:
        with DiskLog(log, disk_bytes=DISK_BYTES) as read:
            assert all(record.offset + record.length <= DISK_BYTES for record in read.records)
    except RigError:
        pass


def test_a_follower_reports_a_write_only_once_its_payload_is_there(tmp_path: Path) -> None:
    log = tmp_path / "growing.log"
    log.touch()
    with LogFollower(log) as follower, log.open("ab", buffering=0) as writer:
        assert follower.poll() == []
        writer.write(bytes(512))
        assert follower.poll() == []
        writer.write(entry(8, 2, 0))
        assert follower.poll() == []
        writer.write(b"x" * 512)
        assert follower.poll() == []
        writer.write(b"x" * 512 + entry(0, 0, 1))
        assert [record.kind for record in follower.poll()] == [Kind.WRITE, Kind.FLUSH]
        assert follower.poll() == []


def test_a_follower_waits_for_an_entry_that_a_later_one_overtook(tmp_path: Path) -> None:
    log = tmp_path / "growing.log"
    log.write_bytes(SUPER + bytes(1024) + entry(9, 1, 0) + b"y" * 512)
    with LogFollower(log) as follower, log.open("r+b", buffering=0) as writer:
        assert follower.poll() == []
        writer.seek(512)
        writer.write(entry(8, 1, 0) + b"x" * 512)
        assert [record.offset // 512 for record in follower.poll()] == [8, 9]


def test_a_follower_sees_what_a_reader_of_the_finished_log_sees(record: Recorder) -> None:
    log = record("write 0 4k", "flush", "discard 4k 4k", "write 8k 512")
    with LogFollower(log) as follower, DiskLog(log) as read:
        assert tuple(follower.poll()) == read.records


def test_a_follower_refuses_a_damaged_log(tmp_path: Path) -> None:
    log = tmp_path / "growing.log"
    log.write_bytes(ONE_WRITE + entry(0, 1, 64))
    with LogFollower(log) as follower, pytest.raises(RigError, match="byte 1536"):
        follower.poll()


def test_the_logs_of_one_power_on_are_one_sequence(record: Recorder) -> None:
    logs = [record("write -P 1 0 4k", "flush", name="first.log"), record("write -P 2 4k 512", name="second.log")]
    with open_chain(logs, disk_bytes=DISK_BYTES) as chain:
        assert [r.kind for r in chain.records] == [Kind.WRITE, Kind.FLUSH, Kind.WRITE]
        assert chain.payload(2) == b"\2" * 512


def test_a_chain_can_end_at_an_earlier_record(record: Recorder) -> None:
    with open_chain([record("write 0 4k", "flush", "write 4k 4k")], cut_at=2) as chain:
        assert [r.kind for r in chain.records] == [Kind.WRITE, Kind.FLUSH]
