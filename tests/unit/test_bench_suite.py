"""Where the time of a run goes, as tools/bench tells it from the records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tools.lib.bench import Figure
from tools.lib.bench import table as figures_table
from tools.lib.bench_suite import of_run, parts, table

CUT: dict[str, Any] = {
    "known_s": 2.0,
    "looked_s": 3.0,
    "took_s": 40.0,
    "updates": [],
    "retries": [{"took_s": 9.0}],
    "recovered": {"boot_s": 5.0},
    "settled": {"boot_s": 6.0},
    "steps": [],
}
ROUTE: dict[str, Any] = {
    **CUT,
    "retries": [],
    "recovered": None,
    "settled": None,
    "steps": [
        {"what": "update to 1.1", "says": "done, 100 bytes fetched", "took_s": 10.0},
        {"what": "restart", "says": "1.1 in 7 s", "took_s": 8.0},
        {"what": "back to 1.0", "says": "done", "took_s": 1.0},
        {"what": "restart", "says": "not up", "took_s": 4.0},
    ],
}


def test_a_cut_has_its_boots_its_updates_and_what_is_left() -> None:
    assert parts(CUT) == {"known": 2.0, "update": 9.0, "boot": 11.0, "judge": 3.0, "rest": 15.0}


def test_a_route_has_those_of_its_steps() -> None:
    assert parts(ROUTE) == {"known": 2.0, "update": 11.0, "boot": 7.0, "judge": 3.0, "rest": 17.0}


def test_trials_are_summed_by_the_promises_that_they_answer_for(tmp_path: Path) -> None:
    for number, (promise, seen) in enumerate((("atomicity", CUT), ("atomicity", CUT), ("rollback", ROUTE))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "record.json").write_text(json.dumps({"verdicts": {promise: {}}, "observation": seen}))
    assert [(promise, count, sum(spent.values())) for promise, count, spent in of_run(tmp_path)] == [
        ("atomicity", 2, 80.0),
        ("rollback", 1, 40.0),
    ]
    assert table(tmp_path).splitlines()[-2].split() == ["all", "3", "6", "29", "29", "9", "47", "120"]


def test_a_folder_without_records_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no record\.json"):
        table(tmp_path)


@pytest.mark.parametrize(
    ("value", "ratio", "goal", "missed"),
    [
        (6.0, None, "at most 5", True),
        (4.0, None, "at most 5", False),
        (4.0, 1.2, "at least 1.5", True),
        (4.0, 1.6, "at least 1.5 (two boards)", False),
        (9.0, None, "8 to 10", False),
        (9.0, None, "", False),
    ],
)
def test_a_goal_that_is_missed_is_told(value: float, ratio: float | None, goal: str, missed: bool) -> None:
    figure = Figure("overhead", value, "s", ratio=ratio, goal=goal)
    assert figure.missed is missed
    assert ("MISSED" in figures_table([figure])) is missed
