"""What an eMMC says of its life, as Linux prints it."""

from __future__ import annotations

import pytest

from powercut.commands.doctor.records import life


@pytest.mark.parametrize(
    ("text", "said", "worn"),
    [
        ("0x01 0x01\n0x01\n", "eMMC: 0 to 10 % of its life used, its spare blocks are fine", False),
        ("0x02 0x09\n0x01\n", "eMMC: 80 to 90 % of its life used, its spare blocks are fine", True),
        ("0x0b 0x01\n0x01\n", "eMMC: more than 100 % of its life used, its spare blocks are fine", True),
        ("0x01 0x01\n0x02\n", "eMMC: 0 to 10 % of its life used, 80 % of its spare blocks are used", True),
        ("0x01 0x01\n0x03 0x02\n0x01\n0x01\n", "eMMC: 20 to 30 % of its life used, its spare blocks are fine", False),
    ],
)
def test_the_worst_of_its_estimates_counts(text: str, said: str, worn: bool) -> None:
    assert life(text) == (said, worn)


@pytest.mark.parametrize("text", ["", "0x00 0x00\n0x00", "0x01 0x01", "cat: no such file", "0x01 0x01\n0x01 0x01"])
def test_a_storage_that_does_not_tell_says_nothing(text: str) -> None:
    assert life(text) is None
