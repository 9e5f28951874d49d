"""A rig that is given up says how it was left, and what it is called."""

from __future__ import annotations

from typing import Any

import pytest

from powercut.clock import MonotonicClock
from powercut.errors import RigError
from powercut.upkeep import Upkeep

NOT_LEFT = RigError("the power could not be left on", "power of rack-7", "switch it on by hand")


def attached(**rig: Any) -> Upkeep:
    """One whose supply fails when its power should be left in order."""
    upkeep = Upkeep("env/board.yaml", "main", MonotonicClock())

    def fail() -> None:
        raise NOT_LEFT

    upkeep._rig = rig or object()  # type: ignore[assignment]
    upkeep._open.callback(fail)
    return upkeep


def test_a_place_that_is_set_aside_says_that_its_power_is_not_as_it_should_be() -> None:
    upkeep = attached()
    upkeep.set_aside("the console is dead\n  to do: see its wire")
    assert upkeep.aside is not None
    assert upkeep.aside.startswith("the console is dead; to do: see its wire; and power of rack-7: the power could not")
    assert upkeep.aside.endswith("to do: switch it on by hand")


def test_what_failed_while_it_was_healed_is_said_when_it_is_set_aside_afterwards() -> None:
    upkeep = attached()
    upkeep._let_go()
    upkeep.set_aside("the console is dead")
    assert "switch it on by hand" in (upkeep.aside or "")


def test_a_run_that_can_not_leave_the_power_in_order_ends_with_that() -> None:
    with pytest.raises(RigError, match="could not be left on"), attached():
        pass
