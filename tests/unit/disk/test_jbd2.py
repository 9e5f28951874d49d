"""Journal replay, judged by e2fsck: journals are written by debugfs, replayed by both, and compared."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from powercut.disk.jbd2 import Replay, finished, raw_crc32c, replay
from powercut.errors import UsageError

BLOCK = 4096
FORMATS = [
    pytest.param(features, csum, id=f"{features},{csum or 'no checksums'}")
    for features in ("64bit", "^64bit")
    for csum in ("", "-c -v 2", "-c -v 3")
]
PLAIN = Random(1).randbytes(BLOCK)
OTHER = Random(2).randbytes(BLOCK)
LOOKS_LIKE_JOURNAL = bytes.fromhex("c03b3998") + PLAIN[4:]

Maker = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """An ext4 image whose journal holds the given transactions, each (debugfs options, content)."""

    def run(features: str, csum: str, *transactions: tuple[str, bytes]) -> Path:
        image = tmp_path / "fs.img"
        image.write_bytes(b"")
        options = ["-b", str(BLOCK), "-O", f"{features},metadata_csum", "-J", "size=4"]
        mke2fs = ["mke2fs", "-q", "-t", "ext4", *options, str(image), "16M"]
        subprocess.run(mke2fs, check=True, capture_output=True, timeout=30)
        script = [f"journal_open {csum}"]
        for number, (arguments, content) in enumerate(transactions):
            (tmp_path / f"{number}.bin").write_bytes(content)
            script.append(f"journal_write {arguments} {tmp_path / f'{number}.bin' if content else ''}")
        (tmp_path / "script").write_text("\n".join([*script, "journal_close", ""]))
        debugfs = ["debugfs", "-w", "-f", str(tmp_path / "script"), str(image)]
        done = subprocess.run(debugfs, check=True, capture_output=True, text=True, timeout=30)
        assert "while" not in done.stderr, done.stderr
        return image

    return run


def journal_of(image: Path) -> list[int]:
    answer = subprocess.run(["debugfs", "-R", "blocks <8>", str(image)], check=True, capture_output=True, timeout=30)
    return [int(number) for number in re.findall(rb"\d+", answer.stdout)]


def ours(image: Path) -> Replay:
    content = image.read_bytes()
    return replay(lambda number: content[number * BLOCK : (number + 1) * BLOCK], journal_of(image))


def theirs(image: Path) -> dict[int, bytes]:
    """The blocks that e2fsck's own replay changes, apart from its bookkeeping (super blocks and the journal)."""
    before, copy = image.read_bytes(), image.with_suffix(".replayed")
    shutil.copy(image, copy)
    subprocess.run(["e2fsck", "-y", "-E", "journal_only", str(copy)], check=True, capture_output=True, timeout=30)
    after = copy.read_bytes()
    own = {0, *journal_of(image)}
    starts = {number: slice(number * BLOCK, (number + 1) * BLOCK) for number in range(len(after) // BLOCK)}
    return {n: after[at] for n, at in starts.items() if n not in own and after[at] != before[at]}


@pytest.mark.parametrize(("features", "csum"), FORMATS)
def test_replay_writes_what_e2fsck_writes(make: Maker, features: str, csum: str) -> None:
    image = make(
        features,
        csum,
        ("-b 3000,3001", PLAIN + OTHER),
        ("-b 3002", LOOKS_LIKE_JOURNAL),
        ("-r 3001", b""),
        ("-b 3000", OTHER),
    )
    replayed = ours(image)
    assert replayed.blocks == theirs(image) == {3000: OTHER, 3002: LOOKS_LIKE_JOURNAL}
    assert (replayed.transactions, replayed.damage) == (4, None)


@pytest.mark.parametrize(("features", "csum"), FORMATS)
def test_a_block_written_again_after_its_revocation_is_replayed(make: Maker, features: str, csum: str) -> None:
    image = make(features, csum, ("-b 3000", PLAIN), ("-r 3000", b""), ("-b 3000", OTHER))
    assert ours(image).blocks == theirs(image) == {3000: OTHER}


@pytest.mark.parametrize(("features", "csum"), FORMATS)
def test_a_transaction_of_several_descriptor_blocks_is_replayed_whole(make: Maker, features: str, csum: str) -> None:
    blocks = range(3000, 3700)
    image = make(features, csum, (f"-b {','.join(map(str, blocks))}", Random(3).randbytes(BLOCK * len(blocks))))
    replayed = ours(image)
    assert sorted(replayed.blocks) == list(blocks)
    assert replayed.blocks == theirs(image)


def test_an_uncommitted_transaction_is_not_replayed(make: Maker) -> None:
    image = make("64bit", "-c -v 3", ("-b 3000", PLAIN), ("-c -b 3001", OTHER))
    replayed = ours(image)
    assert replayed.blocks == theirs(image) == {3000: PLAIN}
    assert replayed.stopped == "transaction 2 is not committed"
    assert replayed.damage is None


def rotate(image: Path, start: int) -> None:
    """Move the ring's content so that it begins at `start`, as after weeks of use."""
    content, journal = bytearray(image.read_bytes()), journal_of(image)
    ring = [content[number * BLOCK : (number + 1) * BLOCK] for number in journal]
    length = len(ring) - 1
    for position in range(length):
        at = journal[1 + (position + start - 1) % length] * BLOCK
        content[at : at + BLOCK] = ring[1 + position]
    head = bytearray(ring[0])
    struct.pack_into(">I", head, 28, start)
    struct.pack_into(">I", head, 0xFC, 0)
    struct.pack_into(">I", head, 0xFC, raw_crc32c(0xFFFFFFFF, bytes(head[:1024])))
    content[journal[0] * BLOCK : (journal[0] + 1) * BLOCK] = head
    image.write_bytes(content)


@pytest.mark.parametrize("before_the_end", range(6))
def test_a_journal_that_goes_round_its_end_is_replayed(make: Maker, before_the_end: int) -> None:
    image = make("64bit", "-c -v 3", ("-b 3000,3001", PLAIN + OTHER), ("-r 3000", b""), ("-b 3002", OTHER))
    rotate(image, 1023 - before_the_end)
    replayed = ours(image)
    assert replayed.transactions == 3
    assert replayed.blocks == theirs(image) == {3001: OTHER, 3002: OTHER}


def flip(image: Path, position: int, byte: int) -> None:
    """Flip one bit of the journal's block `position`."""
    content = bytearray(image.read_bytes())
    content[journal_of(image)[position] * BLOCK + byte] ^= 1
    image.write_bytes(content)


@pytest.mark.parametrize(
    ("position", "byte", "says"),
    [
        pytest.param(0, 100, "super block has a wrong checksum", id="super block"),
        pytest.param(1, 100, "descriptor block of transaction 1 has a wrong checksum", id="descriptor"),
        pytest.param(2, 100, "block 3000 in transaction 1 has a wrong checksum", id="data"),
        pytest.param(3, 100, "commit block of transaction 1 has a wrong checksum", id="commit"),
        pytest.param(4, 100, "revoke block of transaction 2 has a wrong checksum", id="revoke"),
    ],
)
def test_a_committed_transaction_with_a_wrong_checksum_is_damage(
    make: Maker, position: int, byte: int, says: str
) -> None:
    image = make("64bit", "-c -v 3", ("-b 3000", PLAIN), ("-r 3001", b""))
    flip(image, position, byte)
    damage = ours(image).damage
    assert damage is not None
    assert says in damage


def test_an_empty_journal_changes_nothing(make: Maker) -> None:
    image = make("64bit", "")
    assert ours(image) == Replay({}, 0, "the journal is empty")


def test_a_finished_journal_replays_nothing_and_its_checksum_is_right(make: Maker) -> None:
    image = make("64bit", "-c -v 3", ("-b 3000", PLAIN))
    content, head = bytearray(image.read_bytes()), journal_of(image)[0] * BLOCK
    content[head : head + BLOCK] = finished(bytes(content[head : head + BLOCK]))
    image.write_bytes(content)
    assert ours(image) == Replay({}, 0, "the journal is empty")


@pytest.mark.parametrize(("bit", "name"), [(0x20, "fast_commit"), (0x4, "async_commit")])
def test_a_feature_that_changes_what_is_replayed_is_refused(make: Maker, bit: int, name: str) -> None:
    image = make("64bit", "", ("-b 3000", PLAIN))
    content, head = bytearray(image.read_bytes()), journal_of(image)[0] * BLOCK
    content[head + 43] |= bit
    image.write_bytes(content)
    with pytest.raises(UsageError, match=name):
        ours(image)


def test_without_a_journal_there_is_damage_and_no_exception() -> None:
    assert replay(lambda _: bytes(BLOCK), range(10)).damage == "no journal super block (magic 0x0, type 0)"
    assert replay(lambda _: b"", range(10)).damage is not None
    assert replay(lambda _: b"", []).damage == "the journal has no blocks"


@pytest.fixture(params=["", "-c -v 3"], ids=["no checksums", "checksums"])
def ring(make: Maker, request: pytest.FixtureRequest) -> list[bytes]:
    """The first blocks of a journal of two transactions."""
    image = make("64bit", request.param, ("-b 3000,3001", PLAIN + OTHER), ("-r 3000", b""))
    content = image.read_bytes()
    return [content[number * BLOCK : (number + 1) * BLOCK] for number in journal_of(image)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 600), st.integers(1, 255)), min_size=1))
def test_any_damage_is_an_answer(ring: list[bytes], flips: list[tuple[int, int, int]]) -> None:
    damaged = [bytearray(block) for block in ring]
    for position, byte, change in flips:
        damaged[position][byte] ^= change
    damaged[0][43] &= ~0x24 & 0xFF  # the two features that are refused
    replayed = replay(lambda number: bytes(damaged[number]), range(len(ring)))
    assert replayed.transactions <= 2
