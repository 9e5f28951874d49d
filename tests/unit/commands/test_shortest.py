"""The shortest time without power, on boards of which it is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from powercut.commands.calibrate.shortest import CLOSE_ENOUGH, CUTS_AT_MOST, LEAST_S, MOST_S, Shortest, shortest


def board(needs_s: float) -> tuple[Callable[[float], bool], list[float]]:
    """A board that is reset by `needs_s` without power, and what it was asked."""
    asked: list[float] = []

    def resets_after(off_s: float) -> bool:
        asked.append(off_s)
        return off_s >= needs_s

    return resets_after, asked


@pytest.mark.parametrize("needs_s", [0.06, 0.2, 0.9, 1.0, 3.0, 7.5, 9.99])
def test_it_is_found_to_the_factor_that_was_promised_in_few_cuts(needs_s: float) -> None:
    resets_after, asked = board(needs_s)
    found = shortest(resets_after)
    assert found is not None
    assert found.too_short_s < needs_s <= found.off_s <= CLOSE_ENOUGH * found.too_short_s
    assert len(asked) <= CUTS_AT_MOST


def test_a_board_that_any_cut_resets_is_cut_once() -> None:
    resets_after, asked = board(0.0)
    assert shortest(resets_after) == Shortest(LEAST_S, 0.0)
    assert asked == [LEAST_S]


def test_a_board_that_no_cut_resets_is_cut_twice() -> None:
    resets_after, asked = board(60.0)
    assert shortest(resets_after) is None
    assert asked == [LEAST_S, MOST_S]
