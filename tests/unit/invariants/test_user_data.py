"""The user's files are as they were, whenever somebody looked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from powercut.invariants import user_data
from powercut.model import Observation, Outcome, PathDiff
from tests.unit.observations import FILES, NEW, boot, seen, view

CHANGED = (FILES[0], ("/var/lib/app/data", "two\nother lines"))
GONE = (FILES[0], ("/var/lib/app/data", None))
UNLISTED = (FILES[0],)


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(seen(), id="always there"),
        pytest.param(seen(after_cut=None), id="console only"),
        pytest.param(seen(settled=None), id="stopped after the boot"),
        pytest.param(
            seen(after_cut=view(kept=tuple((path, f"{text}\n") for path, text in FILES))), id="a last newline"
        ),
        pytest.param(seen(kept=tuple((path, f"{text}\n") for path, text in FILES)), id="a last newline in the YAML"),
        pytest.param(seen(cut=None), id="without a cut"),
    ],
)
def test_it_holds(good: Observation) -> None:
    assert user_data(good).outcome is Outcome.HOLDS


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(seen(after_cut=view(kept=CHANGED)), "changed after the cut", id="changed on the disk"),
        pytest.param(seen(after_cut=view(kept=GONE)), "is gone after the cut", id="gone from the disk"),
        pytest.param(
            seen(after_retry=view(replace(NEW, etc_differs=(PathDiff("/etc/app/app.conf", "missing"),)))),
            "/etc of 1.1 is neither the release's nor the user's",
            id="not merged",
        ),
        pytest.param(
            seen(recovered=boot(kept=CHANGED)), "changed after the boot that followed", id="changed by the boot"
        ),
        pytest.param(seen(recovered=boot(kept=GONE)), "is gone after the boot that followed", id="gone after the boot"),
        pytest.param(
            seen(settled=boot(kept=CHANGED)), "changed after the next update", id="changed by the next update"
        ),
        pytest.param(seen(settled=boot(kept=UNLISTED)), "is gone after the next update", id="gone by the next update"),
        pytest.param(seen(after_cut=view(kept=((FILES[0][0], ""), FILES[1]))), "changed after the cut", id="emptied"),
    ],
)
def test_it_is_violated(bad: Observation, reason: str) -> None:
    verdict = user_data(bad)
    assert verdict.outcome is Outcome.VIOLATED
    assert reason in verdict.reason


def test_a_changed_file_is_told_with_both_contents() -> None:
    evidence = user_data(seen(after_cut=view(kept=CHANGED))).evidence
    assert evidence == (r"'two\nlines' became 'two\nother lines'",)


@pytest.mark.parametrize(
    ("unsure", "reason"),
    [
        pytest.param(seen(rig_fault="the disk log is damaged"), "the disk log is damaged", id="rig fault"),
        pytest.param(seen(kept=()), "names no files", id="no files named"),
        pytest.param(
            seen(after_cut=view(kept=()), recovered=boot(kept=()), settled=None), "nothing was looked at", id="no look"
        ),
    ],
)
def test_it_is_inconclusive(unsure: Observation, reason: str) -> None:
    verdict = user_data(unsure)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert reason in verdict.reason


def test_an_empty_file_is_a_file() -> None:
    empty = (("/etc/empty", ""),)
    nothing = seen(kept=empty, after_cut=view(kept=empty), recovered=None, settled=None)
    assert user_data(nothing).outcome is Outcome.HOLDS
    assert user_data(replace(nothing, after_cut=view(kept=(("/etc/empty", None),)))).outcome is Outcome.VIOLATED
