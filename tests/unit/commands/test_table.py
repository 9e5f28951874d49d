"""What `powercut calibrate` prints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from powercut.commands.calibrate.table import quantile, shown, warnings
from powercut.lab.calibration import Calibration

FOUND = Calibration(
    place="rack-3",
    supply="NetworkPowerDriver: model gude",
    measured_at=1.0,
    dead_s=(0.020, 0.031, 0.040),
    acknowledged_s=(0.050, 0.060, 0.170),
    min_off_s=0.44,
    boot_s=(7.4, 8.0, 12.04),
    console_bytes_per_s=11400,
    console_bytes=14848,
    console_lost=0,
)


@pytest.mark.parametrize(("part", "value"), [(0.0, 1.0), (0.5, 2.0), (0.75, 3.0), (0.95, 4.0), (1.0, 4.0)])
def test_a_quantile_is_a_value_that_was_measured(part: float, value: float) -> None:
    assert quantile([3.0, 1.0, 4.0, 2.0], part) == value


def test_a_quantile_of_one_value_is_that_value() -> None:
    assert quantile([7.0], 0.95) == 7.0


def test_the_table_has_what_was_measured_and_what_it_is_used_for() -> None:
    assert shown(FOUND, 0.44, 120.0, None).splitlines() == [
        "rack-3 (NetworkPowerDriver: model gude), 3 cuts",
        "                         min  median     p95     max  used for",
        "asked to dead          20 ms   31 ms   40 ms   40 ms  cuts are asked for 31 ms earlier",
        "asked to acknowledged  50 ms   60 ms  170 ms  170 ms  -",
        "power to shell         7.4 s   8.0 s  12.0 s  12.0 s  the limit is 120 s (limits: boot_s)",
        "reset by 0.44 s without power, the rig's shortest; the power stays away for 0.88 s: 2 x that, 0.5 s at least",
        "console: 11.4 kB/s, nothing lost of 14848 bytes",
    ]


def test_a_time_that_was_bisected_is_told_with_its_resolution() -> None:
    assert "reset by 0.44 s without power, known to 0.10 s" in shown(FOUND, 0.10, 120.0, None)


def test_what_the_environment_says_of_the_time_without_power_counts() -> None:
    assert "stays away for 3.00 s: `off_s` of the environment" in shown(FOUND, 0.1, 120.0, 3.0)


def test_a_rig_with_room_to_spare_gets_no_warning() -> None:
    assert warnings(FOUND, 24.1, None) == []


def test_a_boot_limit_of_less_than_twice_the_slowest_boot_gets_one() -> None:
    (warning,) = warnings(FOUND, 24.0, None)
    assert "24 s, is less than 2 x the slowest boot" in warning
    assert "to do: set `limits: boot_s` to 25" in warning


def test_an_off_time_that_is_too_short_gets_one() -> None:
    assert "`off_s` is 0.5 s, 0.88 s would be safe" in warnings(FOUND, 60.0, 0.5)[0]


def test_a_console_that_loses_bytes_gets_one() -> None:
    assert "cuts in its lines will be missed" in warnings(replace(FOUND, console_lost=3), 60.0, None)[0]
