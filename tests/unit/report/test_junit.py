"""JUnit as CI servers read it: an inconclusive test is an error of its own type, and the counts are true."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from powercut.report.junit import TYPE, mark_inconclusive

UNSURE = """<testcase name="unsure"><properties>
<property name="powercut.trial" value="{}" /><property name="powercut.inconclusive" value="the PDU &quot;lied&quot;" />
</properties><failure message="INCONCLUSIVE">long text</failure></testcase>"""
BROKEN = '<testcase name="broken"><failure message="a mix">long text</failure></testcase>'
FINE = '<testcase name="fine"><properties><property name="team" value="OTA" /></properties></testcase>'
SKIPPED = '<testcase name="skipped"><skipped message="not claimed" /></testcase>'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "junit.xml"
    suites = [
        ("one", 3, 1, UNSURE + BROKEN + FINE + SKIPPED + UNSURE),
        ("two", 1, 0, BROKEN),
    ]
    text = "".join(
        f'<testsuite name="{name}" failures="{failures}" errors="{errors}" skipped="1" tests="6">{cases}</testsuite>'
        for name, failures, errors, cases in suites
    )
    path.write_text(f'<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests">{text}</testsuites>')
    return path


def suite(file: Path, name: str) -> ET.Element:
    found = ET.parse(file).find(f"./testsuite[@name='{name}']")
    assert found is not None
    return found


def test_an_inconclusive_test_is_an_error_with_its_cause(file: Path) -> None:
    assert mark_inconclusive(file) == 2
    error = suite(file, "one").find("./testcase[@name='unsure']/error")
    assert error is not None
    assert (error.get("type"), error.get("message"), error.text) == (TYPE, 'the PDU "lied"', "long text")


def test_the_counts_stay_true(file: Path) -> None:
    mark_inconclusive(file)
    one, two = suite(file, "one"), suite(file, "two")
    assert (one.get("failures"), one.get("errors"), one.get("skipped"), one.get("tests")) == ("1", "3", "1", "6")
    assert (two.get("failures"), two.get("errors")) == ("1", "0")
    assert len(one.findall("./testcase/failure")) == 1
    assert len(one.findall("./testcase/error")) == 2


def test_every_other_test_stays_as_it_was(file: Path) -> None:
    mark_inconclusive(file)
    cases = {case.get("name"): ET.tostring(case, encoding="unicode") for case in suite(file, "one")}
    assert (cases["broken"], cases["fine"], cases["skipped"]) == (BROKEN, FINE, SKIPPED)


def test_marking_twice_changes_nothing(file: Path) -> None:
    mark_inconclusive(file)
    once = file.read_bytes()
    assert mark_inconclusive(file) == 0
    assert file.read_bytes() == once
