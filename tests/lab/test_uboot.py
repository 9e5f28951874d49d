"""A cut in `saveenv`: one copy of U-Boot's environment is lost, of two copies there is always one.

The environment is in NOR flash, which has no cache: what was written is there, in the order of the log. So the states
that a cut can leave are the log up to each of its records, and within one: a sector half erased, a page half written.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from random import Random

import pytest
from tests.uboot import Board, Recorded, board

from powercut.disk.blocks import Blocks
from powercut.disk.chain import open_chain
from powercut.disk.log import Kind
from powercut.disk.loss import SECTOR_BYTES, Chosen, Torn, lose, split
from powercut.integrity.ubootenv import parse_copy
from powercut.model import LossModel
from powercut.rig.recorded import replayed

pytestmark = pytest.mark.long

COPY_BYTES = 0x40000
COPIES = {"uboot": (0,), "uboot-redundant": (0, COPY_BYTES)}
BOOTED = 8


def save(the: Board, gen: str) -> Recorded:
    """The environment saved once more, and all that this wrote to the flash."""
    with the.powered() as uboot:
        uboot.run_check(f"setenv gen {gen}; setenv kept by-the-user")
        written = the.recorded
        uboot.run_check("saveenv", timeout=120)
        return written


def cuts(recorded: Recorded) -> Iterator[Blocks]:
    """The flash after a cut behind each record."""
    with open_chain(recorded.logs) as whole:
        records = len(whole)
    for at in range(records + 1):
        yield replayed(recorded.before, recorded.logs, at)


def tears(recorded: Recorded) -> Iterator[Blocks]:
    """The flash after a cut in the middle of each record."""
    with open_chain(recorded.logs) as whole:
        lengths = [record.length for record in whole.records]
    for at, length in enumerate(lengths):
        for kept_bytes in {SECTOR_BYTES, length // 2 // SECTOR_BYTES * SECTOR_BYTES} & {*range(SECTOR_BYTES, length)}:
            with open_chain(recorded.logs, cut_at=at + 1) as chain:
                chosen = Chosen(torn=(Torn(at, kept_bytes),))
                yield lose(recorded.before, chain, LossModel.CACHE_TORN, Random(0), seed="0", chosen=chosen)[0]


def kept(state: Blocks, image: str) -> frozenset[str]:
    """What the copies say whose checksum is right."""
    redundant = len(COPIES[image]) > 1
    copies = (parse_copy(state.read(at, COPY_BYTES), redundant=redundant) for at in COPIES[image])
    return frozenset(copy["gen"] for copy in copies if copy is not None)


def booted(the: Board, state: Blocks) -> tuple[str | None, str | None]:
    """What U-Boot itself makes of a state: the variable that was being saved, and one that stays."""
    the.qemu.insert(state)
    with the.powered():
        return the.value("gen"), the.value("kept")


def some(states: list[Blocks]) -> list[Blocks]:
    """A few of them, spread evenly, the first and the last with them."""
    last = len(states) - 1
    return [states[number * last // (BOOTED - 1)] for number in range(BOOTED)]


def test_a_single_copy_is_lost_from_the_erase_to_the_last_write(tmp_path: Path) -> None:
    with board("uboot", tmp_path) as the:
        save(the, "old")
        recorded = save(the, "new")
        states = list(cuts(recorded))
        found = [kept(state, "uboot") for state in states]
        torn = [kept(state, "uboot") for state in tears(recorded)]
        seen = [booted(the, state) for state in some(states)]
        said = the.said

    assert [gen for gen, _ in groupby(found)] == [{"old"}, set(), {"new"}]
    assert found.count(frozenset()) > 0.9 * len(found)
    assert set(torn) == {frozenset()}
    assert seen[0] == ("old", "by-the-user") and seen[-1] == ("new", "by-the-user")
    assert set(seen[1:-1]) == {(None, None)}, "not only what was saved is lost, but all of the environment"
    assert "bad CRC, using default environment" in said


def test_with_two_copies_the_old_or_the_new_environment_is_there_at_every_cut(tmp_path: Path) -> None:
    with board("uboot-redundant", tmp_path) as the:
        for gen in ("older", "old"):
            save(the, gen)
        recorded = save(the, "new")
        states, torn = list(cuts(recorded)), list(tears(recorded))
        found = [kept(state, "uboot-redundant") for state in states]
        last = next(number for number, gens in enumerate(found) if "new" in gens)
        seen = [booted(the, state) for state in (*some(states), *some(torn), *states[last - 1 :])]

    assert [gen for gen, _ in groupby(found)] == [{"older", "old"}, {"old"}, {"old", "new"}]
    assert all("old" in kept(state, "uboot-redundant") for state in torn)
    assert {gen for gen, _ in seen} == {"old", "new"}
    assert {stays for _, stays in seen} == {"by-the-user"}
    assert seen[-1] == ("new", "by-the-user")


def test_for_what_uboot_writes_to_a_virtio_disk_the_cache_model_is_a_false_alarm(tmp_path: Path) -> None:
    """U-Boot's driver knows no flush, and then VIRTIO demands that a write is durable once it has completed."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    with board("uboot", tmp_path, [{"image": str(image)}]) as the, the.powered() as uboot:
        uboot.run_check("virtio scan; mw.b ${kernel_addr_r} 55 200; virtio write ${kernel_addr_r} 0 1")
        with open_chain(the.recorded.logs) as chain:
            assert [record.kind for record in chain.records] == [Kind.WRITE]
            assert split(chain.records) == ((), (0,))
