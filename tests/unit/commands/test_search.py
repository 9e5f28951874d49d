"""Shrinking from end to end, but for the judge: the fewest writes, the furthest cuts, and a record of what is left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from powercut import cli
from powercut.commands.kept import Kept, kept
from powercut.commands.shrink import search
from powercut.commands.shrink.probes import OnHost, Place, Tries
from powercut.commands.shrink.search import Window, named, shrink, window_of
from powercut.disk.blocks import Blocks
from powercut.disk.chain import LogChain, open_chain
from powercut.disk.log import Kind
from powercut.disk.loss import Chosen, Torn
from powercut.errors import UsageError
from powercut.model import DiskView, LossModel
from powercut.store import load_record
from powercut.trial import drawn
from tests.unit.observations import MIX, NEW, OLD, view

from .conftest import CUT_AT, MakeRecord

SETUP: Any = SimpleNamespace(done="OTA: done", confirmed="HEALTH: OK")
# where the volatile writes of the record begin, by position
AT = {3: 8 << 10, 4: 12 << 10, 5: 16 << 10, 6: 20 << 10, 7: 24 << 10}
Broken = Callable[[Blocks], bool]
Shrink = Callable[..., list[str]]


class Judge:
    """Calls a disk a mix where the test says so."""

    def __init__(self, broken: Broken) -> None:
        self._broken = broken

    def look(self, state: Blocks) -> DiskView:
        return view(OLD, MIX if self._broken(state) else NEW, boots=1)


def missing(state: Blocks) -> set[int]:
    """The volatile writes that did not begin on this disk."""
    return {position for position, offset in AT.items() if not any(state.read(offset, 1))}


def lacking(*culprits: int) -> Broken:
    return lambda state: {*culprits} <= missing(state)


@pytest.fixture
def folder(make_record: MakeRecord) -> Path:
    """A record that takes all five volatile writes, one of them in part."""
    folder = make_record()
    raw = json.loads((folder / "record.json").read_text())
    raw["chosen"] = {"lost": [3, 5, 6, 7], "torn": [{"position": 4, "kept_bytes": 512}]}
    (folder / "record.json").write_text(json.dumps(raw))
    return folder


@pytest.fixture
def shrunk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Shrink:
    """Shrinks the record by a judge of this kind; gives what was said, and the exit status last."""

    def run(broken: Broken, at_most: int = 99, seed: str | None = None) -> list[str]:
        @contextmanager
        def tries(opened: Kept, chain: LogChain, window: Window, *_: object) -> Iterator[Tries]:
            judge = cast("Any", Judge(broken))
            yield Tries(OnHost(opened, chain, window.first, judge, SETUP), "atomicity", at_most, said.append)

        said: list[str] = []
        monkeypatch.setattr(search, "_tries", tries)
        with kept(folder) as opened:
            status = shrink(opened, None, seed, said.append)
        return [*said, str(status)]

    return run


def left_of(folder: Path) -> Chosen | None:
    return load_record(folder.with_name(f"{folder.name}-shrunk")).chosen


def last_flush(kinds: list[Kind], before: int) -> int:
    return max((position for position in range(before) if kinds[position] is Kind.FLUSH), default=-1)


@given(kinds=st.lists(st.sampled_from(Kind), max_size=30), data=st.data())
def test_a_window_is_what_lies_between_two_flushes(kinds: list[Kind], data: st.DataObject) -> None:
    cut_at = data.draw(st.integers(0, len(kinds)) | st.none())
    log: Any = SimpleNamespace(records=[SimpleNamespace(kind=kind) for kind in kinds])
    window = window_of(LogChain([log]), cut_at)
    assert window.cut_at == (len(kinds) if cut_at is None else cut_at)
    assert 0 <= window.first <= window.cut_at <= window.end <= len(kinds)
    assert window.first == last_flush(kinds, window.cut_at) + 1
    assert Kind.FLUSH not in kinds[window.cut_at : window.end]
    assert window.end == len(kinds) or kinds[window.end] is Kind.FLUSH


@pytest.mark.parametrize(
    ("cut_at", "window"), [(8, Window(3, 8, 8)), (5, Window(3, 5, 8)), (2, Window(0, 2, 2)), (None, Window(9, 10, 10))]
)
def test_a_window_of_a_real_log(folder: Path, cut_at: int | None, window: Window) -> None:
    with kept(folder) as opened, open_chain(opened.record.logs) as chain:
        assert window_of(chain, cut_at) == window


def test_only_what_is_needed_is_left_and_named(folder: Path, shrunk: Shrink) -> None:
    said = shrunk(lacking(5))
    assert left_of(folder) == Chosen((5,))
    assert said[-1] == "0"
    told = "\n".join(said)
    assert "1 of 5 lost or torn writes are left; none of them can be left out" in told
    assert "record 5: write at sector 32, 4096 bytes, lost: disk without a partition table" in told


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(culprits=st.sets(st.sampled_from((3, 5, 6, 7)), min_size=1), seed=st.text("123", min_size=1))
def test_exactly_the_culprits_are_left_in_whatever_order_they_are_tried(
    folder: Path, shrunk: Shrink, culprits: set[int], seed: str
) -> None:
    said = "\n".join(shrunk(lacking(*culprits), seed=seed))
    assert left_of(folder) == Chosen(tuple(sorted(culprits)))
    assert f"shows it from record {max(culprits) + 1} to 8; the writes are volatile from" in said


@pytest.mark.parametrize("seed", ["7", "13", "18"])
def test_one_write_that_does_it_alone_is_found_beside_two_that_do_it_together(
    folder: Path, shrunk: Shrink, seed: str
) -> None:
    shrunk(lambda state: {3, 6} <= missing(state) or missing(state) == {5}, seed=seed)
    assert left_of(folder) == Chosen((5,))


def test_with_few_tries_two_that_do_it_together_are_enough(folder: Path, shrunk: Shrink) -> None:
    shrunk(lambda state: {3, 6} <= missing(state) or missing(state) == {5}, seed="7", at_most=14)
    assert left_of(folder) == Chosen((3, 6))


def test_what_is_left_is_a_record_that_draws_the_same_disk_again(folder: Path, shrunk: Shrink) -> None:
    shrunk(lacking(3, 6))
    with kept(folder.with_name(f"{folder.name}-shrunk")) as opened:
        plan = opened.record.plan
        state, loss = drawn(opened.recording, plan.loss, plan.rng("loss"), plan.seed)
        assert missing(state) == {3, 6}
        assert (loss.lost, loss.torn, loss.volatile) == (2, 0, 5)
        seen = opened.record.raw["observation"]
        assert seen["cut"]["losses"][0]["lost"] == 2
        assert seen["cut"]["trigger"] == "fraction:0.5 (shrunk)"
        assert f"shrunk from {folder.name}" in seen["notes"]
        assert opened.violated == ("atomicity",)
        first = load_record(folder)
        assert (plan, opened.record.file, opened.record.nodeid) == (first.plan, first.file, first.nodeid)
        assert opened.record.sha256 == first.sha256


def test_what_is_left_can_be_packed_and_shrunk_again(folder: Path, shrunk: Shrink, tmp_path: Path) -> None:
    said = shrunk(lacking(7))
    small = folder.with_name(f"{folder.name}-shrunk")
    assert said[-2] == f"record: {small}\n  powercut replay {small}\n  powercut export {small}"
    assert cli.main(["export", str(small), "--out", str(tmp_path / "bundle")]) == 0
    text = (tmp_path / "bundle/README.md").read_text()
    assert (
        "Of 8 requests to the disk, 5 writes were not flushed; 1 of them are lost, 0 torn (chosen, not drawn)." in text
    )
    with kept(small) as opened:
        assert shrink(opened, None, None, said.append) == 0
    assert left_of(small) == Chosen((7,))


def test_a_torn_write_that_is_needed_stays_torn(folder: Path, shrunk: Shrink) -> None:
    said = "\n".join(shrunk(lambda state: any(state.read(AT[4], 1)) and not any(state.read(AT[4] + 512, 1))))
    assert left_of(folder) == Chosen((), (Torn(4, 512),))
    assert "record 4: write at sector 24, 1024 bytes, torn after 512 bytes" in said


def test_what_a_plain_kill_shows_is_looked_for_in_the_whole_recording(folder: Path, shrunk: Shrink) -> None:
    said = "\n".join(shrunk(lambda _state: True))
    assert left_of(folder) == Chosen()
    assert "0 of 5 lost or torn writes are left: a plain kill shows it" in said
    assert "the same loss shows it from record 0 to 10; the recording is from 0 to 10" in said


def test_an_earlier_cut_is_as_early_as_the_disk_shows_it(folder: Path, shrunk: Shrink) -> None:
    said = "\n".join(shrunk(lambda state: missing(state) in ({3, 5, 6, 7}, {6, 7}, {7}, set())))
    assert left_of(folder) == Chosen()
    assert "the same loss shows it from record 6 to 10" in said


def test_what_does_not_show_again_leaves_no_record(folder: Path, shrunk: Shrink) -> None:
    said = shrunk(lambda _state: False)
    assert said[-2:] == ["the violation did not show again: nothing to shrink", "1"]
    assert not folder.with_name(f"{folder.name}-shrunk").exists()


def test_a_bound_on_tries_leaves_the_best_so_far_and_says_so(folder: Path, shrunk: Shrink) -> None:
    said = "\n".join(shrunk(lacking(3, 7), at_most=4))
    left = left_of(folder)
    assert left is not None
    assert {3, 7} <= {*left.positions}
    assert "the bound on tries was reached: perhaps fewer would do; see --tries" in said


def test_a_bound_that_is_reached_on_the_way_to_the_earliest_cut_is_told(folder: Path, shrunk: Shrink) -> None:
    made = next(line for line in shrunk(lacking(3)) if line.endswith(" tries"))
    said = "\n".join(shrunk(lacking(3), at_most=int(made.split()[0]) - 1))
    assert left_of(folder) == Chosen((3,))
    assert "none of them can be left out" in said
    assert "the same loss shows it from record 8 to 8 at least (the bound on tries was reached)" in said


def test_the_same_seed_tries_in_the_same_order(shrunk: Shrink) -> None:
    def either(state: Blocks) -> bool:
        return bool({3, 7} & missing(state))

    assert shrunk(either, seed="one") == shrunk(either, seed="one")


def test_the_seed_decides_which_of_several_causes_is_found(folder: Path, shrunk: Shrink) -> None:
    found = set()
    for seed in "0123456789":
        shrunk(lambda state: bool({3, 7} & missing(state)), seed=seed)
        found.add(left_of(folder))
    assert found == {Chosen((3,)), Chosen((7,))}


def test_what_is_not_violated_is_nothing_to_shrink(folder: Path, shrunk: Shrink) -> None:
    raw = json.loads((folder / "record.json").read_text())
    for verdict in raw["verdicts"].values():
        verdict["outcome"] = 0
    (folder / "record.json").write_text(json.dumps(raw))
    with pytest.raises(UsageError, match="nothing is violated in this trial"):
        shrunk(lacking(5))


def test_each_write_that_is_taken_is_named_by_its_kind_place_and_fate(folder: Path) -> None:
    with kept(folder) as opened, open_chain(opened.record.logs) as chain:
        rows = [*named(opened, chain, Place(CUT_AT, Chosen((7, 3), (Torn(4, 512),))))]
    assert [row.partition(": disk")[0] for row in rows] == [
        "record 3: write at sector 16, 4096 bytes, lost",
        "record 4: write at sector 24, 1024 bytes, torn after 512 bytes",
        "record 7: write at sector 48, 4096 bytes, lost",
    ]


@pytest.mark.parametrize("tries", ["0", "-1", "x", "1.5"])
def test_a_bound_on_tries_is_a_number_from_one_on(tries: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["shrink", "record", "--tries", tries])
    assert ended.value.code == 2
    assert f"a number from 1 on, not {tries!r}" in capsys.readouterr().err


def test_a_drawn_loss_is_what_shrinking_begins_with(make_record: MakeRecord) -> None:
    with kept(make_record()) as opened, open_chain(opened.record.logs) as chain:
        fate = opened.fate(chain.records[:CUT_AT])
        plan = opened.record.plan
        state, loss = drawn(opened.recording, LossModel.CACHE, plan.rng("loss"), plan.seed)
        assert missing(state) == {*fate.lost}
        assert (loss.lost, loss.volatile) == (len(fate.lost), fate.volatile) == (len(fate.lost), 5)
        same = replace(opened, record=replace(opened.record, chosen=Chosen(fate.lost)))
        assert same.fate(chain.records[:CUT_AT]) == fate
