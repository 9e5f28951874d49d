"""What a board's driver allows, without a board."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from labgrid.binding import BindingState

from powercut.errors import RigError
from powercut.lab.boarddriver import PowercutBoardDriver
from powercut.lab.wear import Worn


def worn(cuts: int, at_most: int | None) -> Any:
    """A driver whose run has made so many cuts."""
    return SimpleNamespace(cuts_at_most=at_most, wear=SimpleNamespace(run=Worn(cuts=cuts)), place="rack-7")


@pytest.mark.parametrize(("cuts", "at_most"), [(0, 1), (2, 3), (500, None)])
def test_a_run_may_cut_until_its_cap(cuts: int, at_most: int | None) -> None:
    PowercutBoardDriver.check_cap(worn(cuts, at_most))


@pytest.mark.parametrize("cuts", [3, 4])
def test_a_run_that_used_up_its_cap_cuts_no_more(cuts: int) -> None:
    with pytest.raises(RigError, match="3 cuts were made in this run"):
        PowercutBoardDriver.check_cap(worn(cuts, 3))


def test_a_supply_that_fails_in_the_end_leaves_no_line_open() -> None:
    def close(*, gracefully: bool) -> None:
        raise RigError("the power could not be left on", "power of rack-7", "switch it on by hand")

    closed: list[object] = []
    board: Any = SimpleNamespace(
        _join=lambda: None,
        _supply=SimpleNamespace(close=close),
        console="the console",
        target=SimpleNamespace(deactivate=closed.append),
        state=BindingState.active,
    )
    with pytest.raises(RigError, match="could not be left on"):
        PowercutBoardDriver.on_deactivate(board)
    assert closed == ["the console"]
    assert board.state is BindingState.bound
    assert board._supply is None
