"""The values that travel: what they refuse, and what follows from them."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.errors import PowercutError, RigError, UsageError
from powercut.model import NOT_UP, Cut, Fetched, LossModel, Outcome, Verdict, worst
from tests.unit.observations import CUT, FOREIGN, MIX, NEW, OLD, boot, loss, view

verdicts = st.builds(Verdict, st.just("x"), st.sampled_from(Outcome))


@given(st.lists(verdicts, min_size=1))
def test_the_worst_verdict_decides(found: list[Verdict]) -> None:
    assert worst(found) is max(verdict.outcome for verdict in found)


def test_outcomes_go_from_good_to_bad() -> None:
    assert Outcome.HOLDS < Outcome.INCONCLUSIVE < Outcome.VIOLATED


def test_what_nothing_judged_is_inconclusive() -> None:
    assert worst([]) is Outcome.INCONCLUSIVE


def test_only_a_promise_that_holds_is_true() -> None:
    assert Verdict("x", Outcome.HOLDS)
    assert not Verdict("x", Outcome.INCONCLUSIVE)
    assert not Verdict("x", Outcome.VIOLATED)


def test_a_verdict_is_printed_with_its_evidence() -> None:
    assert str(Verdict("atomicity", Outcome.VIOLATED, "a mix", ("/a: gone", "/b: new"))) == (
        "atomicity: violated: a mix\n  /a: gone\n  /b: new"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"lost": 5, "torn": 5, "volatile": 9}, id="more lost than volatile"),
        pytest.param({"volatile": 41, "records": 40}, id="more volatile than written"),
        pytest.param({"lost": -1}, id="less than nothing"),
    ],
)
def test_a_loss_that_can_not_be_is_a_bug(wrong: dict[str, int]) -> None:
    with pytest.raises(AssertionError):
        loss(**wrong)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (loss(), "4 of 9 unflushed writes lost (cache, 40 records)"),
        (loss(torn=2), "4 of 9 unflushed writes lost, 2 torn (cache, 40 records)"),
        (loss(model=LossModel.NONE), "plain kill, 40 records written"),
    ],
    ids=["lost", "torn", "kill"],
)
def test_a_loss_is_printed_as_a_sentence(found: object, text: str) -> None:
    assert str(found) == text


def test_a_cut_is_trivial_only_if_no_disk_changed() -> None:
    assert replace(CUT, losses=(loss(trivial=True),)).trivial
    assert not replace(CUT, losses=(loss(trivial=True), loss())).trivial
    assert not replace(CUT, losses=()).trivial


def test_a_cut_hit_nothing_volatile_only_if_that_is_so_of_every_disk() -> None:
    nothing = loss(volatile=0, lost=0)
    assert replace(CUT, losses=(nothing, nothing)).nothing_volatile
    assert not replace(CUT, losses=(nothing, loss())).nothing_volatile
    assert not Cut("x", None, 0).nothing_volatile


def test_a_system_is_complete_if_every_path_is_of_a_known_release() -> None:
    assert OLD.complete
    assert not MIX.complete
    assert not FOREIGN.complete


def test_a_view_tells_what_the_boot_loader_would_boot() -> None:
    assert view(OLD, NEW, boots=1).chosen is NEW
    assert view(OLD, NEW, boots=None).chosen is None
    assert view(OLD, NEW, boots=7).chosen is None


def test_a_device_without_a_boot_id_is_not_up() -> None:
    assert boot().up
    assert not NOT_UP.up


@pytest.mark.parametrize(("before", "after", "again"), [(100, 900, 0), (100, 1000, 100), (100, 0, 0), (600, 1000, 600)])
def test_what_was_fetched_again_is_what_exceeds_one_update(before: int, after: int, again: int) -> None:
    assert Fetched(before, after, whole=1000).again == again


@pytest.mark.parametrize("family", [UsageError, RigError])
def test_an_error_says_what_where_and_what_to_do_and_survives_a_worker(family: type[PowercutError]) -> None:
    error = pickle.loads(pickle.dumps(family("still on", "lab.yaml: main", "see the outlet")))
    assert type(error) is family
    assert str(error) == "lab.yaml: main: still on\n  to do: see the outlet"
    assert error.what == "still on"
