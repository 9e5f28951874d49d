"""What is kept of a place of the lab: its calibration, and what it was cost."""

from __future__ import annotations

from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from powercut.lab.calibration import DAY_S, Calibration, calibration_of, keep, staleness
from powercut.lab.wear import RUNS_KEPT, Wear, Worn, wear_of

NOW = 1_800_000_000.0
MEASURED = Calibration(
    place="rack-7",
    supply="gude at pdu.lab",
    measured_at=NOW,
    dead_s=(0.02, 0.9, 0.03),
    acknowledged_s=(0.01, 0.01, 0.02),
    min_off_s=1.5,
    boot_s=(8.0, 9.0, 8.5),
    console_bytes_per_s=11000.0,
    console_bytes=4096,
    console_lost=0,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POWERCUT_CACHE", str(tmp_path))
    return tmp_path


def test_a_calibration_is_found_by_the_next_run() -> None:
    keep(MEASURED)
    assert calibration_of("rack-7", "gude at pdu.lab") == MEASURED


def test_triggers_lead_by_the_median_and_power_stays_away_for_twice_what_is_needed() -> None:
    assert MEASURED.lead_s == 0.03
    assert MEASURED.off_s == 3.0
    assert replace(MEASURED, min_off_s=0.05).off_s == 0.5


def test_a_calibration_with_another_supply_is_none() -> None:
    keep(MEASURED)
    assert calibration_of("rack-7", "snmp at pdu.lab") is None
    assert staleness("rack-7", "snmp at pdu.lab") == "it was measured with another supply, or is damaged"
    assert staleness("rack-8", "gude at pdu.lab") == "there is none"


@pytest.mark.parametrize(("days", "says"), [(1, None), (30, None), (31, "it is 31 days old")])
def test_an_old_calibration_says_so(days: int, says: str | None) -> None:
    assert MEASURED.stale(MEASURED.supply, NOW + days * DAY_S) == says


@pytest.mark.parametrize("content", ["", "{", "7", '{"version": 1, "place": "rack-7"}'])
def test_a_damaged_calibration_is_none_and_says_so(content: str) -> None:
    keep(MEASURED).write_text(content)
    assert calibration_of("rack-7", "gude at pdu.lab") is None
    assert staleness("rack-7", "gude at pdu.lab") == "it was measured with another supply, or is damaged"


def test_wear_is_counted_per_run_and_over_all(cache: Path) -> None:
    Wear("rack-7").add(cuts=3, switches=6)
    second = Wear("rack-7")
    second.add(cuts=1, switches=2)
    assert second.run == Worn(cuts=1, switches=2)
    assert second.total == Worn(cuts=4, switches=8)
    assert Wear("rack-8").total == Worn()


def test_all_processes_of_a_run_count_together(cache: Path) -> None:
    Wear("rack-7", run="a night").add(cuts=3, switches=6)
    restarted = Wear("rack-7", run="a night")
    assert restarted.run == Worn(cuts=3, switches=6)
    restarted.add(cuts=1)
    Wear("rack-7", run="another").add(cuts=7)
    assert Wear("rack-7", run="a night").run.cuts == 4
    assert Wear("rack-8", run="a night").run == Worn()
    assert restarted.total.cuts == 11


def test_the_run_is_that_of_the_environment_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERCUT_RUN", "a night")
    wear_of("rack-7").add(cuts=2)
    assert Wear("rack-7", run="a night").run.cuts == 2
    monkeypatch.setenv("POWERCUT_RUN", "the next")
    assert wear_of("rack-7").run == Worn()
    monkeypatch.delenv("POWERCUT_RUN")
    assert wear_of("rack-7") is wear_of("rack-7")


def test_a_file_that_is_damaged_in_a_run_forgets_none_of_the_cuts_of_this_process(cache: Path) -> None:
    wear = Wear("rack-7", run="a night")
    wear.add(cuts=3)
    next(cache.glob("places/*/wear.json")).write_text("{")
    wear.add(cuts=1)
    assert wear.run.cuts == 4


def test_of_old_runs_only_the_total_is_kept(cache: Path) -> None:
    for number in range(RUNS_KEPT + 5):
        Wear("rack-7", run=f"run {number}").add(cuts=1)
    assert Wear("rack-7", run="run 0").run == Worn()
    assert Wear("rack-7", run="run 9").run.cuts == 1
    assert Wear("rack-7").total.cuts == RUNS_KEPT + 5


def test_bytes_written_are_counted_once_however_often_a_board_is_asked() -> None:
    wear = Wear("rack-7")
    for boot, since_boot in [("a", 1000), ("a", 1500), ("b", 200), ("b", 200)]:
        wear.wrote(boot, since_boot)
    assert wear.run.written_bytes == 1700


def _cut_often(cache: str) -> None:
    wear = Wear("rack-7", Path(cache))
    for _ in range(50):
        wear.add(cuts=1)


def test_runs_at_the_same_time_lose_no_count(tmp_path: Path) -> None:
    runs = [get_context("spawn").Process(target=_cut_often, args=(str(tmp_path),)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert Wear("rack-7", tmp_path).total.cuts == 100
