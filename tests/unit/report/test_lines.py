"""A trial in words."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from powercut.invariants import INVARIANTS
from powercut.model import NOT_UP, Cut, LossModel, Observation
from powercut.report.lines import PROPERTY, Summary, line, page, summaries, summarised, table, toothless
from powercut.trial import Plan, Trial
from powercut.triggers import AnyTrigger, at
from tests.unit.observations import BLANK, CUT, MIX, OLD, loss, seen, update, view

NODE = 'sub dir/test_x.py::test_old_or_new[console:it\'s "done"]'


def trial(
    observation: Observation, cut: AnyTrigger | None = None, *, name: str = "base-next", recording: bool = False
) -> Trial:
    """A judged trial."""
    plan = Plan(name, "next", cut or at.fraction(0.5), LossModel.CACHE, "c7f2")
    found = Trial(plan, observation, Path("/out dir") / name, BLANK if recording else None)
    assert [found.judge(invariant) for invariant in INVARIANTS]
    return found


def summary(observation: Observation, cut: AnyTrigger | None = None, name: str = "base-next") -> Summary:
    return summarised(trial(observation, cut, name=name))


TRIVIAL = seen(cut=Cut("x", None, 0, (loss(trivial=True),)))
NOTHING = seen(cut=Cut("x", None, 0, (loss(volatile=0, lost=0),)))
UNCUT = seen(cut=None)


def test_a_summary_survives_as_a_user_property() -> None:
    first, second = summary(seen()), summary(TRIVIAL, at.phase("during.switch"))
    others: list[tuple[str, object]] = [("requirement", "OTA-812")]
    assert summaries([first.as_property(), *others, second.as_property()]) == [first, second]
    assert first.as_property()[0] == PROPERTY


def test_a_trial_is_one_line_of_cut_loss_story_and_proof() -> None:
    assert line(summary(seen())).strip() == (
        "cut fraction:0.5: 4 of 9 unflushed writes lost (cache, 40 records); booted 1.0 in 7 s, next update to 1.1"
        " done, 50000 of 2000000 bytes fetched again; atomicity holds, resumption holds, user data holds"
    )


@pytest.mark.parametrize(
    ("observation", "words"),
    [
        pytest.param(seen(after_cut=view(OLD, MIX)), "atomicity VIOLATED", id="violated"),
        pytest.param(seen(rig_fault="the PDU lied\nsee lab.yaml", recovered=None), "the PDU lied; ", id="rig fault"),
        pytest.param(seen(rig_fault="the PDU lied", recovered=None), "atomicity inconclusive", id="inconclusive"),
        pytest.param(seen(recovered=NOT_UP), "did not come up", id="brick"),
        pytest.param(seen(recovered=None), "not booted", id="not booted"),
        pytest.param(seen(retries=(update(done=False),)), "next update to 1.1 FAILED", id="not updatable"),
        pytest.param(UNCUT, "no cut", id="no cut"),
        pytest.param(seen(cut=Cut("x", None, 0)), "disk not recorded", id="no disk log"),
    ],
)
def test_the_line_tells_what_happened(observation: Observation, words: str) -> None:
    assert words in line(summary(observation))


@pytest.mark.parametrize(
    ("cut", "phase"),
    [
        (at.fraction(0.3), "fraction:0.3"),
        (at.console("a:b"), "console:a:b"),
        (at.phase("during.switch"), "during.switch"),
    ],
    ids=str,
)
def test_cuts_are_counted_by_phase(cut: AnyTrigger, phase: str) -> None:
    assert summary(seen(), cut).phase == phase


def test_the_table_counts_what_proved_little() -> None:
    found = [
        summary(seen(), name="good"),
        summary(TRIVIAL, name="trivial"),
        summary(NOTHING, name="nothing"),
        summary(UNCUT, name="uncut"),
    ]
    assert table(found)[-1] == (
        "4 trials: 1 trivial (disk as before), 1 with nothing volatile (equal to a plain kill), 1 without a cut"
    )


def test_a_trivial_cut_with_nothing_volatile_counts_as_trivial() -> None:
    both = seen(cut=Cut("x", None, 0, (loss(volatile=0, lost=0, trivial=True),)))
    assert table([summary(both)])[-1].startswith("1 trials: 1 trivial (disk as before), 0 with nothing volatile")


def test_an_undisturbed_update_is_not_without_a_cut() -> None:
    plan = Plan("base-next", "next", None, LossModel.CACHE, "c7f2")
    found = summarised(Trial(plan, UNCUT, Path("/out")))
    assert found.phase == "undisturbed"
    assert table([found])[-1].endswith("0 without a cut")


def test_a_trial_that_several_tests_used_is_in_the_table_once() -> None:
    assert len(table([summary(seen()), summary(seen())])) == 2


def test_the_same_plan_of_two_workers_is_two_trials() -> None:
    plan = Plan("base-next", "next", at.fraction(0.5), LossModel.CACHE, "c7f2")
    found = [summarised(Trial(plan, seen(), Path(f"/out/base-next-{worker}"))) for worker in ("gw0", "gw1")]
    assert table(found)[-1].startswith("2 trials")


def test_a_phase_in_which_no_cut_hit_anything_is_toothless() -> None:
    found = [
        summary(TRIVIAL, at.phase("during.write")),
        summary(TRIVIAL, at.phase("during.switch")),
        summary(seen(), at.phase("during.switch")),
        summary(UNCUT, at.phase("after.done")),
    ]
    assert toothless(found) == ["during.write"]


def test_a_page_shows_the_broken_promise_the_cut_the_loss_and_the_console() -> None:
    text = page(trial(seen(after_cut=view(OLD, MIX), announced=("done",))), "env.yaml", NODE, "c7f2")
    assert "atomicity: violated: before any recovery the system that could boot is a mix" in text
    assert "/usr/bin/app: content differs" in text
    assert f"cut: fraction:0.5; {CUT.sent_bytes} payload bytes sent; announced: ('done',)" in text
    assert "lost: 4 of 9 unflushed writes lost (cache, 40 records), seed 7" in text
    assert "  | GRUB: no such device" in text
    assert "user data" not in text


def test_a_page_names_the_weakest_loss_model_that_shows_it() -> None:
    found = trial(seen(after_cut=view(OLD, MIX)))
    found.weakest = "ordered"
    assert "weakest loss model that shows it: ordered" in page(found, "env.yaml", NODE, "c7f2")


PYTEST = [sys.executable, "-m", "pytest"]


def commands(text: str) -> list[list[str]]:
    """The commands that a page offers, as a shell would read them."""
    return [shlex.split(offered.partition(":  ")[2]) for offered in text.splitlines() if " -m p" in offered]


def test_a_page_offers_the_same_state_and_the_same_cut_and_says_where_the_evidence_lies() -> None:
    text = page(trial(seen(recovered=NOT_UP), recording=True), "my env.yaml", NODE, "c7f2")
    assert "evidence: /out dir/base-next" in text
    assert commands(text) == [
        [sys.executable, "-m", "powercut.cli", "replay", "/out dir/base-next"],
        [*PYTEST, "--lg-env", "my env.yaml", "--powercut-seed", "c7f2", "--powercut-loss", "cache", NODE],
    ]


def test_a_page_of_a_disk_that_was_not_recorded_offers_the_same_cut_only() -> None:
    text = page(trial(seen(recovered=NOT_UP)), "env.yaml", NODE, "c7f2")
    assert [command[len(PYTEST) + 2] for command in commands(text)] == ["--powercut-seed"]


def test_a_page_bounds_the_console() -> None:
    tail = tuple(f"line {number}" for number in range(100))
    text = page(trial(seen(recovered=NOT_UP, console_tail=tail)), "env.yaml", NODE, "c7f2")
    assert text.count("  | line") == 8
    assert "  | line 99" in text
