"""How a place is asked whether it violates: on the host as a trial would draw it, on the rig as a trial of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from powercut.commands.kept import Kept, kept
from powercut.commands.shrink import probes
from powercut.commands.shrink.probes import OnHost, OnRig, Place, Tries, announced_at, chosen_of, told
from powercut.commands.shrink.smaller import Spent
from powercut.disk.blocks import Blocks
from powercut.disk.chain import open_chain
from powercut.disk.loss import Chosen, Torn
from powercut.model import DiskView, Outcome, Verdict
from powercut.trial import Trial, drawn
from tests.unit.observations import MIX, NEW, OLD, view

from .conftest import CUT_AT, MakeRecord

SETUP: Any = SimpleNamespace(done="OTA: done", confirmed="HEALTH: OK")
NOWHERE: Any = None
VOLATILE = range(3, 8)
FIRST = 3
LENGTH = {3: 4096, 4: 1024, 5: 4096, 6: 4096, 7: 4096}


class Judge:
    """Sees a mix where a byte of the disk is not as it was written, and keeps the last state that it saw."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.state = Blocks(b"\0")

    def look(self, state: Blocks) -> DiskView:
        self.state = state.fork()
        return view(OLD, NEW if any(state.read(self.at, 1)) else MIX, boots=1)


@pytest.fixture
def opened(make_record: MakeRecord) -> Iterator[Kept]:
    with kept(make_record()) as found:
        yield found


@pytest.fixture
def judge() -> Judge:
    """One that misses record 5."""
    return Judge(16 << 10)


@pytest.fixture
def on_host(opened: Kept, judge: Judge) -> Iterator[OnHost]:
    with open_chain(opened.record.logs) as chain:
        yield OnHost(opened, chain, FIRST, cast("Any", judge), SETUP)


def torn() -> st.SearchStrategy[tuple[Torn, ...]]:
    """What may be taken of the volatile writes: some of them, wholly or up to a sector."""
    one = st.sampled_from(VOLATILE).flatmap(
        lambda position: st.builds(
            Torn, st.just(position), st.integers(0, LENGTH[position] // 512 - 1).map((512).__mul__)
        )
    )
    return st.lists(one, unique_by=lambda tear: tear.position).map(tuple)


def test_of_what_is_taken_that_is_lost_of_which_nothing_is_kept() -> None:
    taken = (Torn(9, 512), Torn(7, 0), Torn(4, 1024), Torn(2, 0))
    assert chosen_of(taken) == Chosen(lost=(2, 7), torn=(Torn(4, 1024), Torn(9, 512)))


@given(torn())
def test_all_that_is_taken_is_named_once(taken: tuple[Torn, ...]) -> None:
    chosen = chosen_of(taken)
    assert sorted(chosen.positions) == sorted(tear.position for tear in taken)
    assert len(chosen.lost) + len(chosen.torn) == len(taken)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut_at=st.integers(0, CUT_AT), taken=torn())
def test_the_host_looks_at_the_disk_that_a_replay_would_boot(
    on_host: OnHost, judge: Judge, opened: Kept, cut_at: int, taken: tuple[Torn, ...]
) -> None:
    place = Place(cut_at, chosen_of(tuple(tear for tear in taken if tear.position < cut_at)))
    trial = on_host(place)
    assert trial.recording is not None
    plan = opened.record.plan
    booted, _ = drawn(trial.recording, plan.loss, plan.rng("loss"), plan.seed)
    assert judge.state.equals(booted)


def test_a_place_on_the_host_is_a_judged_trial_of_the_same_plan(on_host: OnHost, opened: Kept) -> None:
    trial = on_host(Place(CUT_AT, Chosen((5,))))
    assert trial.verdicts["atomicity"].outcome is Outcome.VIOLATED
    assert trial.plan == opened.record.plan
    assert trial.seen.announced == ("done",)
    assert trial.seen.cut is not None and trial.seen.cut.trigger == "fraction:0.5 (shrunk)"
    assert on_host(Place(CUT_AT, Chosen((4, 6)))).verdicts["atomicity"].outcome is not Outcome.VIOLATED


def test_a_write_that_a_flush_covered_is_never_lost(on_host: OnHost) -> None:
    with pytest.raises(AssertionError, match="a flush covered"):
        on_host(Place(CUT_AT, Chosen((1,))))


def with_observation(opened: Kept, **found: object) -> Kept:
    """The record, as if this had been seen."""
    raw = json.loads(json.dumps(opened.record.raw))
    raw["observation"].update(found)
    return replace(opened, record=replace(opened.record, raw=raw))


def test_what_was_promised_is_what_was_said_by_then(opened: Kept) -> None:
    assert [announced_at(opened, SETUP, cut_at) for cut_at in (5, 6, 9)] == [(), ("done",), ("done",)]


def test_what_was_promised_without_a_word_was_so_by_each_later_cut(opened: Kept) -> None:
    silent = with_observation(replace(opened, record=replace(opened.record, said=())), announced=["done"])
    assert [announced_at(silent, SETUP, cut_at) for cut_at in (7, CUT_AT, 9)] == [(), ("done",), ("done",)]


def test_of_a_cut_that_was_made_live_the_console_says_all(opened: Kept) -> None:
    live = replace(opened, record=replace(opened.record, cut_at=None))
    assert [announced_at(live, SETUP, cut_at) for cut_at in (5, 10)] == [(), ("done",)]


@pytest.mark.parametrize("trigger", ["phase:x", "phase:x (shrunk)", "phase:x (shrunk) (shrunk)"])
def test_what_was_shrunk_twice_says_so_once(opened: Kept, judge: Judge, trigger: str) -> None:
    cut = {**opened.record.raw["observation"]["cut"], "trigger": trigger}
    again = with_observation(opened, cut=cut)
    with open_chain(opened.record.logs) as chain:
        trial = OnHost(again, chain, FIRST, cast("Any", judge), SETUP)(Place(CUT_AT, Chosen()))
    assert trial.seen.cut is not None and trial.seen.cut.trigger == "phase:x (shrunk)"


def test_a_try_on_the_rig_is_a_trial_with_this_very_cut_in_a_folder_of_its_own(
    opened: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replays: list[Any] = []

    def run(rig: Any, plan: object, folder: Path, replay: Any, promises: Any) -> Trial:
        assert promises(NOWHERE) == ["user data"]
        replays.append(replay(rig))
        return Trial(cast("Any", plan), NOWHERE, folder)

    monkeypatch.setattr(probes, "run_trial", run)
    on_rig = OnRig(opened, cast("Any", SimpleNamespace(setup=SETUP)), "user data", tmp_path)
    places = Place(7, Chosen((5,))), Place(CUT_AT, Chosen((6,), (Torn(4, 512),)))
    trials = [on_rig(place) for place in places]
    assert [trial.folder for trial in trials] == [tmp_path / "try1", tmp_path / "try2"]
    assert all(trial.folder.is_dir() for trial in trials)
    assert [(recording.cut_at, recording.chosen) for recording, *_ in replays] == [
        (place.cut_at, place.chosen) for place in places
    ]
    assert [announced for _, _, announced, _ in replays] == [("done",), ("done",)]
    assert {sent for *_, sent in replays} == {opened.record.raw["observation"]["cut"]["sent_bytes"]}


class Told:
    """A probe that answers with given verdicts, by the position of the cut."""

    def __init__(self, verdicts: dict[int, tuple[Outcome, str]]) -> None:
        self.asked: list[int] = []
        self._verdicts = verdicts

    def __call__(self, place: Place) -> Trial:
        self.asked.append(place.cut_at)
        trial = Trial(NOWHERE, NOWHERE, Path())
        trial.verdicts["atomicity"] = Verdict("atomicity", *self._verdicts[place.cut_at])
        return trial


def asking(verdicts: dict[int, tuple[Outcome, str]], at_most: int = 99) -> tuple[Told, Tries, list[str]]:
    probe, said = Told(verdicts), list[str]()
    return probe, Tries(probe, "atomicity", at_most, said.append), said


def test_a_place_is_asked_of_once() -> None:
    probe, tries, _ = asking({1: (Outcome.VIOLATED, "x"), 2: (Outcome.HOLDS, "")})
    places = [Place(at, Chosen()) for at in (1, 2, 1, 2)]
    found = [tries.violating(place) for place in places]
    assert (probe.asked, tries.made) == ([1, 2], 2)
    assert found[0] is not None and found[2] is found[0]
    assert (found[1], found[3]) == (None, None)


def test_the_bound_on_tries_counts_what_is_asked_not_what_is_known() -> None:
    probe, tries, _ = asking(dict.fromkeys(range(4), (Outcome.VIOLATED, "x")), at_most=2)
    assert tries.violating(Place(0, Chosen())) and tries.violating(Place(1, Chosen()))
    assert tries.violating(Place(0, Chosen()))
    with pytest.raises(Spent):
        tries.violating(Place(2, Chosen()))
    assert probe.asked == [0, 1]


def test_another_violation_is_not_the_one_to_keep() -> None:
    _, tries, _ = asking(
        {
            0: (Outcome.VIOLATED, "3 of 900 paths differ, not of 1.1"),
            1: (Outcome.VIOLATED, "12 of 900 paths differ, not of 1.1"),
            2: (Outcome.VIOLATED, "3 of 900 paths differ, not of 1.2"),
            3: (Outcome.VIOLATED, "does not boot"),
            4: (Outcome.INCONCLUSIVE, "3 of 900 paths differ, not of 1.1"),
        }
    )
    assert [tries.violating(Place(at, Chosen())) is not None for at in range(5)] == [True, True, False, False, False]


def test_what_does_not_violate_sets_no_words() -> None:
    _, tries, _ = asking({0: (Outcome.HOLDS, ""), 1: (Outcome.VIOLATED, "second"), 2: (Outcome.VIOLATED, "third")})
    assert [tries.violating(Place(at, Chosen())) is not None for at in range(3)] == [False, True, False]


def test_each_try_is_told_with_what_came_of_it() -> None:
    _, tries, said = asking({4: (Outcome.VIOLATED, "mixed\nand more")})
    tries.violating(Place(4, Chosen((1, 2), (Torn(3, 512),))))
    assert said == ["  try 1: cut at record 4, 2 writes lost, 1 torn: atomicity: violated: mixed"]


def test_a_place_in_words_has_no_torn_writes_where_there_are_none() -> None:
    assert told(Place(4, Chosen())) == "cut at record 4, 0 writes lost"
