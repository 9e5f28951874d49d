"""What the plugin adds to pytest, and that a suite that does not use it sees nothing of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from .conftest import WITHOUT_LABGRID, Run

HEAVY = ("powercut.trial", "powercut.harness", "powercut.rig", "paramiko", "jsonschema", "hypothesis", "yaml")
OTHERS = """
targets:
  main:
    drivers: {}
"""
OTHERS_SUITE = """
import pytest

def test_target(target):
    assert target.name == "main"

def test_env(env):
    assert env.get_target("main")

@pytest.mark.parametrize("number", [1, 2])
def test_number(number, record_property):
    record_property("number", number)
    assert number == 1

@pytest.mark.skip(reason="no hardware")
def test_skipped():
    pass
"""
OURS = """
targets:
  main:
    drivers:
      PowercutQEMUDriver: {accel: tcg, network: false, disks: [{image: no.img}]}
      ShellDriver: {prompt: '# ', login_prompt: 'login: ', username: root}
    options:
      powercut:
        client: ostree
        repo: repo
        ref: stable
        releases:
          base: {version: "1.0", commit: abc}
          next: {version: "1.1", commit: def}
        update: ota-update {url}
imports: [powercut.lab]
"""
OURS_SUITE = """
from powercut import atomic

def test_one(powercut):
    assert atomic(powercut.update("base", to="next"))

def test_two(powercut):
    assert atomic(powercut.update("base", to="next"))
"""


ALONE = ("-p", "no:hypothesispytest", "-p", "no:xdist")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LG_ENV", raising=False)


def test_the_suite_is_collected_without_environment_or_hardware(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess(*ALONE, "--collect-only", "-q", "--pyargs", "powercut.conformance")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*test_power_loss.py::*[[]fraction:0.5[]]", "*tests collected*"])


def test_what_there_is_is_named(pytester: pytest.Pytester) -> None:
    markers = pytester.runpytest_inprocess(*WITHOUT_LABGRID, "--markers")
    markers.stdout.fnmatch_lines(["@pytest.mark.needs(capability): *"])
    fixtures = pytester.runpytest_inprocess(*WITHOUT_LABGRID, "--fixtures")
    fixtures.stdout.fnmatch_lines(["powercut -- *", "*Updates the device*"])


def test_every_option_is_explained(pytester: pytest.Pytester) -> None:
    help_text = pytester.runpytest_inprocess(*WITHOUT_LABGRID, "--help").stdout.str()
    options = re.findall(r"^ +(--powercut-\w+)", help_text, re.MULTILINE)
    assert {"--powercut-seed", "--powercut-loss", "--powercut-out", "--powercut-replay"} <= set(options)
    explained = re.findall(r"^ +--powercut-\w+(?:=\w+)?\s+\S.*", help_text, re.MULTILINE)
    assert len(explained) == len(options)


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    code = f"import sys, powercut.plugin, powercut; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert found.stdout.strip() == "[]"


def test_a_run_that_does_not_use_it_imports_nothing_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_modules():
            found = {name for name in sys.modules if name.startswith("powercut.")}
            assert found == {"powercut.plugin"}
    """)
    assert pytester.runpytest_subprocess(*ALONE).ret == 0


def seen_by_others(pytester: pytest.Pytester, *options: str) -> tuple[int, str, list[str]]:
    """Status, output and JUnit of a labgrid suite, without what differs from run to run."""
    pytester.makefile(".yaml", others=OTHERS)
    pytester.makepyfile(OTHERS_SUITE)
    result = pytester.runpytest_subprocess(*ALONE, "--lg-env=others.yaml", "-v", "--junitxml=junit.xml", *options)
    output = re.sub(r"in \d+\.\d+s|0x[0-9a-f]+|plugins: .*", "", result.stdout.str())
    cases = ET.parse(pytester.path / "junit.xml").iter("testcase")
    return (
        int(result.ret),
        output,
        [re.sub(r'time="[^"]*"|0x[0-9a-f]+', "", ET.tostring(case, "unicode")) for case in cases],
    )


def test_a_labgrid_suite_that_does_not_use_it_gives_the_same(pytester: pytest.Pytester) -> None:
    with_it = seen_by_others(pytester)
    assert with_it == seen_by_others(pytester, "-p", "no:powercut")
    assert with_it[0] == 1
    assert len(with_it[2]) == 5


def in_environment(pytester: pytest.Pytester, environment: str, *options: str) -> tuple[int, str]:
    """Status and everything said by a run of our suite without hardware; the environment comes from the shell."""
    pytester.makefile(".yaml", board=environment)
    pytester.makepyfile(OURS_SUITE)
    with pytest.MonkeyPatch.context() as shell:
        shell.setenv("LG_ENV", "board.yaml")
        result = pytester.runpytest_inprocess(*WITHOUT_LABGRID, "--collect-only", *options)
    return int(result.ret), result.stdout.str() + result.stderr.str()


def test_a_mistake_in_the_environment_is_one_message_and_status_4(pytester: pytest.Pytester) -> None:
    status, text = in_environment(pytester, OURS.replace("        update:", "        updat:"))
    assert status == 4
    assert text.count("unknown key 'updat'") == 1
    assert "did you mean 'update'?" in text
    assert "Traceback" not in text


def test_an_image_that_is_missing_is_one_message_and_status_4(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", board=OURS)
    pytester.makepyfile(OURS_SUITE)
    result = pytester.runpytest_subprocess(*ALONE, "--lg-env=board.yaml")
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == 4
    assert text.count("no.img: no such image") == 1
    assert "to do: build it" in text
    assert "Traceback" not in text


def test_an_image_that_is_missing_is_told_by_workers_without_a_traceback(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", board=OURS)
    pytester.makepyfile(OURS_SUITE)
    result = pytester.runpytest_subprocess("-p", "no:hypothesispytest", "-n1", "--lg-env=board.yaml")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*no.img: no such image", "*to do: build it*", "*2 errors in *"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_an_environment_that_is_missing_is_one_message_and_status_4(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LG_ENV", "nowhere.yaml")
    result = pytester.runpytest_inprocess(*WITHOUT_LABGRID)
    assert result.ret == 4
    assert result.stderr.str().count("nowhere.yaml: No such file") == 1
    assert "Traceback" not in result.stderr.str()


@pytest.mark.parametrize("factor", ["0", "-1", "nan", "fast"])
def test_a_factor_that_stretches_nothing_is_refused(pytester: pytest.Pytester, factor: str) -> None:
    result = pytester.runpytest_inprocess(*WITHOUT_LABGRID, f"--powercut-slow={factor}")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--powercut-slow*"])


def test_the_seed_is_drawn_and_told(pytester: pytest.Pytester) -> None:
    _, text = in_environment(pytester, OURS)
    assert re.search(r"^powercut: seed [0-9a-f]{8}, loss model cache$", text, re.MULTILINE)
    assert text not in in_environment(pytester, OURS)


def test_the_seed_may_be_given(pytester: pytest.Pytester) -> None:
    _, text = in_environment(pytester, OURS, "--powercut-seed=c7f2", "--powercut-loss=ordered")
    assert "powercut: seed c7f2, loss model ordered" in text


def write_record(folder: Path, node: str) -> None:
    plan = {"name": "n", "to": "next", "cut": None, "loss": "cache", "seed": "c7f2", "then": "retry"}
    record = {"nodeid": node, "environment": "board.yaml", "base": None, "began": None, "cut_at": None, "plan": plan}
    later = {"file": None, "powercut": "0.1.0", "hardware": None, "chosen": None, "sha256": None}
    (folder / "record.json").write_text(json.dumps({"version": 1, **record, **later}))


def test_a_replay_runs_the_recorded_test_and_no_other(run: Run, pytester: pytest.Pytester) -> None:
    write_record(pytester.path, "old/folder/test_a_replay_runs_the_recorded_test_and_no_other.py::test_cut[a/b]")
    result = run(
        """
@pytest.mark.parametrize("cut", ["a/b", "c/b"])
def test_cut(powercut, cut):
    assert cut == "a/b"

def test_other(powercut, cut):
    raise AssertionError
""",
        f"--powercut-replay={pytester.path}",
    )
    result.assert_outcomes(passed=1, deselected=2)


def test_a_replay_of_what_is_no_record_is_one_message_and_status_4(run: Run, pytester: pytest.Pytester) -> None:
    result = run("def test_x(): pass", "--powercut-replay=nowhere")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*nowhere/record.json: no record of a trial: *"])


def test_a_replay_of_a_test_that_is_not_there_is_told(run: Run, pytester: pytest.Pytester) -> None:
    write_record(pytester.path, "test_gone.py::test_cut")
    result = run("def test_x(): pass", f"--powercut-replay={pytester.path}")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*the record is of test_gone.py::test_cut, which is not collected*"])
