"""Holds, violated, inconclusive: three outcomes that nobody can mix up, on the terminal, in JUnit and in the status."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from .conftest import Run

FINE = """
def test_fine(trial):
    assert atomic(trial(seen()))
"""
UNSURE = """
def test_unsure(trial):
    assert atomic(trial(seen(rig_fault="the PDU lied")))
"""
BROKEN = """
def test_broken(trial):
    assert atomic(trial(seen(after_cut=view(OLD, MIX))))
"""
TOOTHLESS = """
def test_toothless(trial):
    assert atomic(trial(seen(cut=Cut("x", None, 0, (loss(trivial=True),))), at.phase("during.write")))
"""


def cases(file: Path) -> dict[str | None, ET.Element]:
    return {case.get("name"): case for case in ET.parse(file).iter("testcase")}


def test_an_inconclusive_trial_is_counted_apart_and_has_its_own_status(run: Run, pytester: pytest.Pytester) -> None:
    result = run(FINE + UNSURE, "--junitxml=junit.xml")
    assert result.ret == 10
    result.stdout.fnmatch_lines(
        [
            "I *[[]100%[]]",
            "*inconclusive: *::test_unsure*",
            "INCONCLUSIVE atomicity: inconclusive: the PDU lied",
            "*powercut: seed *",
            "2 trials: *",
            "1 inconclusive: the rig could not tell; this is no verdict on the device",
            "evidence: *powercut-out",
            "*1 passed, 1 inconclusive in *",
        ]
    )
    result.stdout.no_fnmatch_line("*failed*")
    case = cases(pytester.path / "junit.xml")["test_unsure"]
    assert [(child.tag, child.get("type")) for child in case if child.tag != "properties"] == [
        ("error", "powercut.Inconclusive")
    ]
    suite = ET.parse(pytester.path / "junit.xml").find("./testsuite")
    assert suite is not None
    assert (suite.get("failures"), suite.get("errors"), suite.get("tests")) == ("0", "1", "2")


def test_a_broken_promise_decides_the_status_and_prints_its_page(run: Run) -> None:
    result = run(BROKEN + UNSURE + FINE)
    assert result.ret == 1
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "atomicity: violated: before any recovery the system that could boot is a mix",
            "cut: fraction:0.5; 2000000 payload bytes sent; *",
            "lost: 4 of 9 unflushed writes lost (cache, 40 records), seed 7",
            "evidence: *",
            "the same cut, new run:  * -m pytest --lg-env *env/board.yaml --powercut-seed c7f2 --powercut-loss cache *",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.fnmatch_lines(["*1 failed, 1 passed, 1 inconclusive in *"])


def test_all_is_the_same_with_workers_and_they_have_the_seed_of_the_run(run: Run, pytester: pytest.Pytester) -> None:
    noting = """
import os
from pathlib import Path

@pytest.fixture(autouse=True)
def _noted(powercut):
    Path(__file__).with_name(os.environ["PYTEST_XDIST_WORKER"] + ".seed").write_text(powercut._session.seed)
"""
    result = run(noting + UNSURE + FINE, "-n2", "--dist=each", "--junitxml=junit.xml")
    assert result.ret == 10
    seeds = [file.read_text() for file in pytester.path.glob("*.seed")]
    result.stdout.fnmatch_lines([f"*powercut: seed {seeds[0]}*", "4 trials: *", "*2 passed, 2 inconclusive in *"])
    assert seeds == [seeds[0]] * 2
    assert cases(pytester.path / "junit.xml")["test_unsure"].find("error") is not None


def test_all_workers_and_those_that_replace_them_are_one_run(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERCUT_RUN", "the run around")
    noting = """
import os
from pathlib import Path

@pytest.mark.parametrize("number", range(4))
def test_number(number, powercut):
    here = Path(__file__)
    here.with_name(f"{os.getpid()}.run").write_text(os.environ["POWERCUT_RUN"])
    if number == 0 and not here.with_name("crashed").exists():
        here.with_name("crashed").touch()
        os._exit(1)
"""
    run(noting, "-n2")
    noted = [file.read_text() for file in pytester.path.glob("*.run")]
    assert len(noted) >= 2
    assert len(set(noted)) == 1
    assert "the run around" not in noted
    assert os.environ["POWERCUT_RUN"] == "the run around"


def test_a_fault_of_the_rig_that_reaches_a_test_is_inconclusive(run: Run, pytester: pytest.Pytester) -> None:
    result = run(
        """
def test_console(powercut):
    raise RigError("the console is closed", "console", "switch the device on")
""",
        "--junitxml=junit.xml",
    )
    assert result.ret == 10
    assert cases(pytester.path / "junit.xml")["test_console"].find("error") is not None
    result.stdout.fnmatch_lines(["INCONCLUSIVE console: the console is closed", "*to do: switch the device on"])


def test_a_mistake_of_the_user_fails_without_a_traceback(run: Run) -> None:
    result = run("""
def test_release(powercut):
    raise UsageError("no release plays 'third'", "my.yaml: releases", "name one")
""")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["my.yaml: releases: no release plays 'third'", "*to do: name one"])
    result.stdout.no_fnmatch_line("*errors.py*")


def test_an_assertion_that_is_not_ours_keeps_its_explanation(run: Run) -> None:
    result = run("""
def test_figures(powercut):
    assert 1 + 1 == 3
""")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["E *assert (1 + 1) == 3"])


def test_what_the_device_does_not_claim_is_skipped_with_the_reason(run: Run) -> None:
    result = run(
        """
@pytest.mark.needs("deltas")
def test_deltas(powercut):
    raise AssertionError

@pytest.mark.needs("collects")
def test_collects(powercut):
    raise AssertionError

@pytest.mark.needs("resumes")
def test_resumes(powercut):
    pass
""",
        "-rs",
    )
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines_random(["SKIPPED * ostree does not claim deltas here", "SKIPPED * ostree can't: why"])


def test_a_phase_in_which_nothing_was_hit_is_told_and_fails_a_strict_run(run: Run) -> None:
    result = run(TOOTHLESS)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["no cut of during.write changed anything on the disk: nothing was proved there"])
    assert run(TOOTHLESS, "--powercut-strict").ret == 1
    assert run(FINE, "--powercut-strict").ret == 0


def test_trials_are_told_as_the_run_goes_on_and_a_quieter_run_is_quieter(run: Run) -> None:
    told = "*cut fraction:0.5: 4 of 9 unflushed writes lost*atomicity holds*"
    assert run(FINE).stdout.str().count("cut fraction:0.5: ") == 2
    run(FINE).stdout.fnmatch_lines([told])
    assert run(FINE, "-qq").stdout.str().count("cut fraction:0.5: ") <= 1


@pytest.mark.parametrize("uses", ["powercut, _powercut_session", "_powercut_session"])
def test_a_place_that_is_set_aside_before_a_test_is_announced_as_one_in_a_trial(run: Run, uses: str) -> None:
    breaking = f"""
from powercut.errors import Inconclusive
from powercut.plugin import _OURS

@pytest.fixture
def broken(request, {uses}):
    request.config.stash[_OURS] = True
    _powercut_session.upkeep.aside = "its console is dead"
    raise Inconclusive("here was set aside: its console is dead")

def test_it(broken):
    pass
"""
    result = run(breaking)
    assert result.ret == 10
    told = [
        dict(report.user_properties).get("powercut.set_aside")
        for report in result.reprec.getreports("pytest_runtest_logreport")  # type: ignore[attr-defined]
    ]
    assert told[0] == "here: its console is dead"


def test_a_rig_that_fails_before_a_test_and_is_not_set_aside_is_not_announced(run: Run) -> None:
    result = run("""
@pytest.fixture
def broken(powercut):
    raise RigError("the PDU lied", "rack-7", "see it")

def test_it(broken):
    pass
""")
    reports = result.reprec.getreports("pytest_runtest_logreport")  # type: ignore[attr-defined]
    assert all("powercut.set_aside" not in dict(report.user_properties) for report in reports)


@pytest.mark.parametrize(
    ("before", "after"), [("raise RigError('the PDU lied', 'rack-7', 'see it')", ""), ("", "raise Inconclusive('off')")]
)
def test_a_rig_that_fails_before_or_after_a_test_is_inconclusive_as_well(run: Run, before: str, after: str) -> None:
    around = f"""
from powercut.errors import Inconclusive

@pytest.fixture
def around(powercut):
    {before or "pass"}
    yield
    {after or "pass"}

def test_it(around):
    pass
"""
    result = run(around + FINE)
    assert result.ret == 10
    result.stdout.fnmatch_lines(["*1 inconclusive: the rig could not tell*", "*1 inconclusive in *"])
    result.stdout.no_fnmatch_line("*Traceback*")
