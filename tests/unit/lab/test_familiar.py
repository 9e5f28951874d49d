"""What a board says when it starts, and how a garbling wire is told from a board with something new to say."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from powercut.lab.familiar import Familiar

START = [
    f"[    {number}.{number:06d}] {text}"
    for number, text in enumerate(
        [
            "Linux version 6.1.0 (gcc version 12.2.0) SMP PREEMPT",
            "Kernel command line: root=/dev/mmcblk0p2 rootwait quiet",
            "Memory: 480332K/524288K available (14342K kernel code)",
            "mmc0: new high speed SDHC card at address aaaa",
            "EXT4-fs (mmcblk0p2): mounted filesystem with ordered data mode",
            "systemd: Detected architecture arm64",
            "Reached target Multi-User System",
        ]
    )
]


@pytest.fixture
def familiar(tmp_path: Path) -> Familiar:
    known = Familiar(tmp_path / "place" / "start.json")
    known.learn(START)
    return known


def test_a_start_like_the_last_one_is_familiar_whatever_its_numbers(familiar: Familiar) -> None:
    later = [line.replace("480332K", "480000K").replace(".000", ".123") for line in START]
    assert familiar.garbled(later) == (0, len(START))


def test_a_board_that_stops_half_way_garbles_nothing(familiar: Familiar) -> None:
    assert familiar.garbled([*START[:4], "Kernel panic - not syncing: VFS: Unable to mount root fs"]) == (0, 4)


def test_lost_bytes_are_nearly_what_is_familiar(familiar: Familiar) -> None:
    rng = Random(3)
    lossy = ["".join(letter for letter in line if rng.random() > 0.02) for line in START]
    nearly, exact = familiar.garbled(lossy)
    assert nearly > exact


def test_what_was_learnt_is_known_in_the_next_run(familiar: Familiar, tmp_path: Path) -> None:
    assert Familiar(tmp_path / "place" / "start.json").garbled(START) == (0, len(START))


@pytest.mark.parametrize("content", ["", "{", "7", '{"a": 1}'])
def test_a_damaged_file_is_learnt_anew(tmp_path: Path, content: str) -> None:
    file = tmp_path / "start.json"
    file.write_text(content)
    known = Familiar(file)
    known.learn(START)
    assert Familiar(file).garbled(START) == (0, len(START))


@pytest.mark.parametrize(
    ("said", "nearly"),
    [
        ("OTA: done 1.2", None),
        ("OT: done 1.2", "OT: done #.#"),
        ("OTA: downloading", None),
        ("Reached target Multi-Usr System", None),
    ],
    ids=["exactly", "a byte lost", "something else", "nearly another familiar line"],
)
def test_a_line_that_a_wire_changed_is_nearly_what_a_pattern_matched_before(
    familiar: Familiar, said: str, nearly: str | None
) -> None:
    familiar.learn(["OTA: done 1.1"])
    assert familiar.nearly([said], r"^OTA: done \d+\.\d+$") == nearly
