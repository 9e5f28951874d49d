"""A worker that is set aside runs nothing more, and what it had not run is run once by others, or told."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import pytest

from .test_wiring import OURS

# the rig breaks at the tests that BREAKS names, after the test that WAIT names was run somewhere
CONFTEST = """
import os
from pathlib import Path

import pytest
from powercut.clock import MonotonicClock, poll

RAN = Path(__file__).with_name("ran.txt")
ME = os.environ.get("PYTEST_XDIST_WORKER", "alone")
BREAKS = os.environ.get("BREAKS", "").split()

def has_run(name):
    return RAN.exists() and any(line.endswith(f"::{name}") for line in RAN.read_text().splitlines())

@pytest.fixture(scope="session", autouse=True)
def rig():
    yield
    with RAN.with_name("rigs.txt").open("a") as file:
        file.write(f"{ME}\\n")

@pytest.fixture(autouse=True)
def ran(request, rig):
    if "WAIT" in os.environ and request.node.name in BREAKS:
        assert poll(lambda: has_run(os.environ["WAIT"]), MonotonicClock(), limit_s=30)
    yield
    with RAN.open("a") as file:
        file.write(f"{ME} {request.node.nodeid}\\n")

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if call.when == "call" and item.name in BREAKS:
        report.outcome, report.longrepr = "failed", "INCONCLUSIVE the console is dead"
        told = [("powercut.inconclusive", "the console is dead"), ("powercut.set_aside", f"of {ME}: no console")]
        report.user_properties += told
        item.user_properties += told
"""
SUITE = """
import pytest

pytestmark = pytest.mark.parametrize("cut", ["a", "b"])

def test_1(cut):
    pass

def test_2(cut):
    pass

def test_3(cut):
    pass
"""
ALL = {f"test_{number}[{cut}]" for number in (1, 2, 3) for cut in "ab"}


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in ("LG_ENV", "PYTEST_XDIST_WORKER"):  # of the run that runs this
        monkeypatch.delenv(name, raising=False)
    pytester.makefile(".yaml", board=OURS)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(SUITE)
    return pytester


def run(suite: pytest.Pytester, breaks: str, *options: str, wait: str | None = None) -> pytest.RunResult:
    with pytest.MonkeyPatch.context() as shell:
        shell.setenv("BREAKS", breaks)
        if wait is not None:
            shell.setenv("WAIT", wait)
        fixed = ("-p", "no:hypothesispytest", "--lg-env=board.yaml", "--junitxml=junit.xml")
        return suite.runpytest_subprocess(*fixed, *options, timeout=90)


def ran(suite: pytest.Pytester) -> list[tuple[str, str]]:
    """(worker, test) for each test that was really run, in order."""
    lines = (suite.path / "ran.txt").read_text().splitlines()
    return [(line.split()[0], line.rpartition("::")[2]) for line in lines]


def by(suite: pytest.Pytester, worker: str) -> set[str]:
    return {test for who, test in ran(suite) if who == worker}


def who(suite: pytest.Pytester, test: str) -> str:
    return next(worker for worker, name in ran(suite) if name == test)


def inconclusive(suite: pytest.Pytester) -> list[str]:
    """The causes that JUnit gives."""
    cases = ET.parse(Path(suite.path / "junit.xml")).iter("testcase")
    return [error.get("message", "") for case in cases for error in case.iter("error")]


def test_all_tests_of_a_cut_go_to_one_worker(suite: pytest.Pytester) -> None:
    result = run(suite, "", "-n3")
    assert result.ret == 0
    groups = {frozenset(by(suite, worker)) for worker, _ in ran(suite)}
    assert groups == {frozenset(test for test in ALL if test.endswith(f"[{cut}]")) for cut in "ab"}


@pytest.mark.parametrize("dist", ["load", "loadgroup"])
def test_others_run_once_what_a_worker_set_aside_has_not_run(suite: pytest.Pytester, dist: str) -> None:
    result = run(suite, "test_1[a]", "-n2", f"--dist={dist}", wait="test_2[b]")
    assert result.ret == 10
    result.stdout.fnmatch_lines(["*5 passed, 1 inconclusive in *"])
    assert Counter(test for _, test in ran(suite)) == dict.fromkeys(ALL, 1)
    assert by(suite, who(suite, "test_1[a]")) == {"test_1[a]"}


def test_a_worker_in_reserve_takes_over(suite: pytest.Pytester) -> None:
    result = run(suite, "test_2[a]", "-n3", wait="test_2[b]")
    assert result.ret == 10
    assert Counter(test for _, test in ran(suite)) == dict.fromkeys(ALL, 1)
    assert who(suite, "test_3[a]") != who(suite, "test_2[a]")


def test_a_worker_set_aside_at_its_last_test_takes_nothing_along(suite: pytest.Pytester) -> None:
    result = run(suite, "test_3[b]", "-n2")
    assert result.ret == 10
    assert Counter(test for _, test in ran(suite)) == dict.fromkeys(ALL, 1)


def test_what_nobody_is_left_for_is_inconclusive(suite: pytest.Pytester) -> None:
    result = run(suite, "test_1[a] test_1[b]", "-n2")
    assert result.ret == 10
    result.stdout.fnmatch_lines(["*6 inconclusive in *"])
    assert len(ran(suite)) == 2
    causes = Counter(inconclusive(suite))
    assert causes["the console is dead"] == 2
    assert sorted(causes.values()) == [2, 4]
    assert {cause.partition(":")[0] for cause in causes} == {"the console is dead", "no place is left"}


def test_the_only_process_has_nobody_to_hand_on_to(suite: pytest.Pytester) -> None:
    result = run(suite, "test_1[b]", "-p", "no:xdist")
    assert result.ret == 10
    result.stdout.fnmatch_lines(["*1 passed, 5 inconclusive in *"])
    assert [test for _, test in ran(suite)] == ["test_1[a]", "test_1[b]"]
    assert set(inconclusive(suite)) == {"the console is dead", "no place is left: of alone: no console"}


def test_where_xdist_spreads_by_itself_nothing_is_silently_left_out(suite: pytest.Pytester) -> None:
    result = run(suite, "test_1[a]", "-n1", "--dist=loadscope")
    assert result.ret == 10
    result.stdout.fnmatch_lines(["*6 inconclusive in *"])
    assert len(ran(suite)) == 1


def test_the_rig_ends_with_the_test_that_gave_it_up(suite: pytest.Pytester) -> None:
    checks = """
def pytest_runtest_logreport(report):
    if report.when == "teardown" and report.nodeid.endswith("::test_1[a]") and ME != "alone":
        assert RAN.with_name("rigs.txt").read_text() == f"{ME}\\n"
"""
    suite.makeconftest(CONFTEST + checks)
    result = run(suite, "test_1[a]", "-n1")
    assert result.ret == 10
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_worker_that_dies_is_replaced_as_xdist_does(suite: pytest.Pytester) -> None:
    dies = """
@pytest.fixture(autouse=True)
def dies(request):
    if request.node.name == "test_2[a]" and not RAN.with_name("died.txt").exists():
        RAN.with_name("died.txt").touch()
        os.kill(os.getpid(), 9)
"""
    suite.makeconftest(CONFTEST + dies)
    result = run(suite, "", "-n2")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*replacing crashed worker gw?", "*'gw?' crashed while running *test_2[[]a[]]*"])
    assert {test for _, test in ran(suite)} == ALL
    assert set(Counter(test for _, test in ran(suite)).values()) == {1}
