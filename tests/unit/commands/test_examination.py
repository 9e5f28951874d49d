"""How the steps of an examination end, and what depends on what."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

import pytest

from powercut.clock import MonotonicClock
from powercut.commands.doctor.examination import Doubtful, Finding, NotHere, State, Step, Unchecked, examine
from powercut.commands.doctor.steps import STEPS
from powercut.device import PowerLost, Silent
from powercut.errors import RigError, UsageError

CLOCK = MonotonicClock()


def raises(fault: Exception) -> Callable[[None], NoReturn]:
    def look(_case: None) -> NoReturn:
        raise fault

    return look


def only(look: Callable[[None], str], limit_s: float = 60.0) -> Finding:
    (finding,) = examine(None, [Step("step", look, limit_s=lambda _case: limit_s)], lambda _finding: None)
    return finding


def said(finding: Finding) -> list[str]:
    return str(finding).splitlines()


def test_a_step_that_is_well_says_what_it_saw() -> None:
    assert said(only(lambda _case: "1.2 kB heard")) == ["ok    step         1.2 kB heard"]


def test_a_fault_is_told_in_one_line_with_what_to_do() -> None:
    assert said(only(raises(RigError("no answer\nat all", "power of a", "see the PDU")))) == [
        "WRONG step         power of a: no answer at all",
        "                   to do: see the PDU",
    ]


def test_a_doubt_is_no_fault() -> None:
    assert said(only(raises(Doubtful("it is old", "measure again")))) == [
        "warn  step         it is old",
        "                   to do: measure again",
    ]


def test_what_could_not_be_looked_at_says_why() -> None:
    assert said(only(raises(Unchecked("--no-cut")))) == ["-     step         not checked: --no-cut"]


@pytest.mark.parametrize("fault", [Silent("nothing"), PowerLost(), KeyError("x"), Exception("Password needed")])
def test_whatever_a_rig_raises_is_a_finding(fault: Exception) -> None:
    assert only(raises(fault)).state is State.WRONG


def test_ctrl_c_is_none() -> None:
    def interrupted(_case: None) -> NoReturn:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        only(interrupted)


def test_a_step_that_hangs_is_ended() -> None:
    def hangs(_case: None) -> str:
        CLOCK.rest(30)
        return "too late"

    began_s = time.monotonic()
    assert "no end within 0 s" in only(hangs, 0.2).said
    assert time.monotonic() - began_s < 5


def test_what_needs_a_step_that_failed_is_not_looked_at() -> None:
    looked: list[str] = []

    def look(name: str) -> Callable[[None], str]:
        def step(_case: None) -> str:
            looked.append(name)
            return name

        return step

    steps = [
        Step("a", raises(UsageError("bad", "a", "mend it"))),
        Step("b", look("b"), needs=("a",)),
        Step("c", look("c"), needs=("b",)),
        Step("d", look("d")),
    ]
    told: list[Finding] = []
    findings = examine(None, steps, told.append)
    assert looked == ["d"]
    assert [finding.state for finding in findings] == [State.WRONG, State.UNCHECKED, State.UNCHECKED, State.OK]
    assert findings[2].said == "not checked: needs b"
    assert told == findings


@pytest.mark.parametrize("fault", [NotHere(), Doubtful("old", "")])
def test_what_needs_a_step_that_is_not_here_or_in_doubt_is_looked_at(fault: Exception) -> None:
    steps = [Step("a", raises(fault)), Step("b", lambda _case: "seen", needs=("a",))]
    assert examine(None, steps, lambda _finding: None)[1].state is State.OK


def test_what_is_not_here_is_not_told() -> None:
    told: list[Finding] = []
    examine(None, [Step("a", raises(NotHere()))], told.append)
    assert told == []


def test_every_step_comes_after_what_it_needs() -> None:
    names = [step.name for step in STEPS]
    assert [step.name for step in STEPS if not {*step.needs} <= {*names[: names.index(step.name)]}] == []
