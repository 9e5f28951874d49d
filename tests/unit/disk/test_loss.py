"""What each loss model may and may not take."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.disk.blocks import Blocks, open_blocks
from powercut.disk.chain import LogChain, open_chain
from powercut.disk.log import Kind, Record
from powercut.disk.loss import Chosen, Drawn, Torn, apply, choose, draw, lose, split
from powercut.model import LossModel

from .conftest import DISK_BYTES, Recorder

records = st.lists(
    st.builds(
        Record,
        index=st.just(0),
        kind=st.sampled_from([Kind.WRITE, Kind.WRITE, Kind.WRITE, Kind.DISCARD, Kind.FLUSH]),
        offset=st.just(0),
        length=st.sampled_from([512, 1024, 4096]),
        payload_at=st.just(0),
        fua=st.booleans(),
    ),
    max_size=30,
)
models = st.sampled_from(LossModel)
seeds = st.integers().map(Random)


@given(records, models, seeds)
def test_every_write_has_exactly_one_fate(records: list[Record], model: LossModel, rng: Random) -> None:
    drawn = draw(records, model, rng)
    fates = [*drawn.durable, *drawn.kept, *drawn.lost, *(torn.position for torn in drawn.torn)]
    assert sorted(fates) == [at for at, record in enumerate(records) if record.kind is not Kind.FLUSH]


@given(records, models, seeds)
def test_what_a_flush_covered_is_never_lost(records: list[Record], model: LossModel, rng: Random) -> None:
    drawn = draw(records, model, rng)
    last_flush = max((at for at, record in enumerate(records) if record.kind is Kind.FLUSH), default=-1)
    assert all(at > last_flush and not records[at].fua for at in drawn.lost)
    assert all(torn.position > last_flush and not records[torn.position].fua for torn in drawn.torn)


@given(records, seeds)
def test_a_plain_kill_keeps_everything(records: list[Record], rng: Random) -> None:
    drawn = draw(records, LossModel.NONE, rng)
    assert (drawn.lost, drawn.torn) == ((), ())


@given(records, seeds)
def test_an_ordered_cache_keeps_a_prefix(records: list[Record], rng: Random) -> None:
    drawn = draw(records, LossModel.ORDERED, rng)
    assert drawn.kept + drawn.lost == split(records)[1]
    assert drawn.torn == ()


@given(records, seeds)
def test_a_torn_write_keeps_some_whole_sectors_but_not_all(records: list[Record], rng: Random) -> None:
    drawn = draw(records, LossModel.CACHE_TORN, rng)
    assert len(drawn.torn) <= 2
    assert all(records[torn.position].kind is Kind.WRITE for torn in drawn.torn)
    assert all(torn.kept_bytes % 512 == 0 for torn in drawn.torn)
    assert all(0 < torn.kept_bytes < records[torn.position].length for torn in drawn.torn)


@given(records, models, st.integers())
def test_a_seed_gives_one_answer(records: list[Record], model: LossModel, seed: int) -> None:
    assert draw(records, model, Random(seed)) == draw(records, model, Random(seed))


def test_a_cache_can_keep_a_later_write_and_lose_an_earlier_one() -> None:
    writes = [Record(at, Kind.WRITE, 0, 512, 0, False) for at in range(2)]
    fates = {draw(writes, LossModel.CACHE, Random(seed)).kept for seed in range(40)}
    assert fates == {(), (0,), (1,), (0, 1)}


@pytest.fixture
def volatile(record: Recorder) -> list[Path]:
    """One durable write and, after a reset, three volatile ones, of which two overlap."""
    return [
        record("write -P 1 0 4k", "flush", "write -P 2 4k 4k", name="first.log"),
        record("write -P 3 4k 1k", "discard 0 4k", name="second.log"),
    ]


def test_survivors_are_applied_in_the_order_of_the_log(volatile: list[Path]) -> None:
    with open_chain(volatile) as chain:
        blocks = Blocks(bytes(DISK_BYTES))
        apply(blocks, chain, Drawn(durable=(0,), kept=(3, 2), lost=(4,), torn=()))
        assert blocks.read(0, 4096) == b"\1" * 4096
        assert blocks.read(4096, 4096) == b"\3" * 1024 + b"\2" * 3072


def test_a_torn_write_puts_its_first_sectors_only(volatile: list[Path]) -> None:
    with open_chain(volatile) as chain:
        blocks = Blocks(bytes(DISK_BYTES))
        apply(blocks, chain, Drawn(durable=(0,), kept=(), lost=(3, 4), torn=(Torn(2, 1536),)))
        assert blocks.read(4096, 4096) == b"\2" * 1536 + bytes(2560)


def test_a_kept_discard_reads_as_zeros(volatile: list[Path]) -> None:
    with open_chain(volatile) as chain:
        blocks = Blocks(bytes(DISK_BYTES))
        apply(blocks, chain, Drawn(durable=(0,), kept=(4,), lost=(2, 3), torn=()))
        assert blocks.read(0, 4096) == bytes(4096)


def test_a_write_before_a_reset_is_volatile_after_it(volatile: list[Path]) -> None:
    with open_chain(volatile) as chain:
        assert split(chain.records) == ((0,), (2, 3, 4))


def test_keeping_everything_gives_the_very_disk_that_qemu_left(volatile: list[Path], disk: Path) -> None:
    with open_chain(volatile) as chain:
        after, loss = lose(Blocks(bytes(DISK_BYTES)), chain, LossModel.NONE, Random(0), seed="0")
    assert after.read(0, DISK_BYTES) == disk.read_bytes()
    assert (loss.records, loss.flushes, loss.volatile, loss.lost, loss.trivial) == (5, 1, 3, 0, False)


def test_a_cut_before_any_write_is_trivial(record: Recorder) -> None:
    with open_chain([record("flush")]) as chain:
        loss = lose(Blocks(bytes(DISK_BYTES)), chain, LossModel.CACHE, Random(0), seed="0")[1]
    assert loss.trivial
    assert loss.nothing_volatile


def test_losing_everything_since_the_stimulus_is_trivial_though_the_disk_changed_since_power_on(
    volatile: list[Path], disk: Path
) -> None:
    with open_chain(volatile[:1]) as chain, open_chain(volatile[:1], cut_at=2) as boot, open_blocks(disk) as start:
        before = lose(start, boot, LossModel.NONE, Random(0), seed="0")[0]
        all_lost = next(seed for seed in range(20) if not draw(chain.records, LossModel.CACHE, Random(seed)).kept)
        loss = lose(start, chain, LossModel.CACHE, Random(all_lost), seed=str(all_lost), before=before)[1]
    assert loss.lost == 1
    assert loss.trivial


def test_an_empty_chain_loses_nothing() -> None:
    after, loss = lose(Blocks(bytes(4096)), LogChain([]), LossModel.CACHE_TORN, Random(0), seed="0")
    assert loss.trivial
    assert after.read(0, 4096) == bytes(4096)


@given(records, seeds)
def test_a_loss_that_is_named_is_the_loss_that_was_drawn(records: list[Record], rng: Random) -> None:
    drawn = draw(records, LossModel.CACHE_TORN, rng)
    again = choose(records, Chosen(drawn.lost, drawn.torn))
    assert (again.durable, again.kept, again.lost, again.torn) == (
        drawn.durable,
        drawn.kept,
        tuple(sorted(drawn.lost)),
        drawn.torn,
    )


def test_what_a_flush_covered_can_not_be_named() -> None:
    written = [Record(0, Kind.WRITE, 0, 512, 0, False), Record(1, Kind.FLUSH, 0, 0, 0, False)]
    with pytest.raises(AssertionError, match="a flush covered"):
        choose(written, Chosen((0,)))
