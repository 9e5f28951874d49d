"""One table of several runs: device x promise, each cell with what came of the promise and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.lib.suites import ERROR, HELD, INCONCLUSIVE, SKIPPED, VIOLATED, Case, cases, table

JUNIT = """<testsuites><testsuite>
<testcase name="test_a_download_is_resumed[fraction:0.5]"/>
<testcase name="test_a_download_is_resumed[fraction:0.9]">
<failure message="fetched again&#10;more">x</failure></testcase>
<testcase name="test_versions_are_kept"><skipped message="rauc can't: two slots"/></testcase>
<testcase name="test_it_boots"><error type="powercut.Inconclusive" message="the line went dead">x</error></testcase>
<testcase name="test_it_runs"><error type="Other" message="failed on setup">x</error></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def found(tmp_path: Path) -> list[Case]:
    file = tmp_path / "junit.xml"
    file.write_text(JUNIT)
    return list(cases(file))


def test_every_case_has_its_outcome_and_reason(found: list[Case]) -> None:
    assert found == [
        Case("a download is resumed", HELD),
        Case("a download is resumed", VIOLATED, "fetched again"),
        Case("versions are kept", SKIPPED, "rauc can't: two slots"),
        Case("it boots", INCONCLUSIVE, "the line went dead"),
        Case("it runs", ERROR, "failed on setup"),
    ]


def test_the_table_has_a_column_per_device_and_says_why_once(found: list[Case]) -> None:
    assert table({"rauc": found, "mender": [found[0], found[0], found[2]]}).splitlines() == [
        "| promise | rauc | mender |",
        "|---|---|---|",
        "| a download is resumed | VIOLATED [1], held | 2 held |",
        "| versions are kept | skipped [2] | skipped [2] |",
        "| it boots | INCONCLUSIVE [3] | not run |",
        "| it runs | ERROR [4] | not run |",
        "",
        "[1] fetched again",
        "[2] rauc can't: two slots",
        "[3] the line went dead",
        "[4] failed on setup",
    ]
