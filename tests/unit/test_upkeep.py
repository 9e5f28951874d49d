"""A rig that is given up says how it was left, and what it is called."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from powercut.clock import MonotonicClock
from powercut.errors import RigError
from powercut.harness import Session
from powercut.lab.boarddriver import PowercutBoardDriver
from powercut.lab.saves import local_place
from powercut.lab.wear import wear_of
from powercut.model import LossModel
from powercut.store import Store, places
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


def board(environment: str) -> Any:
    """A driver of a board beside this host, as far as its name goes."""
    config = SimpleNamespace(filename=environment)
    return SimpleNamespace(target=SimpleNamespace(name="main", env=SimpleNamespace(config=config)), power=None)


def test_a_local_board_is_called_the_same_by_its_driver_and_when_it_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("powercut.lab.boarddriver.place_of", lambda _power: None)
    upkeep = Upkeep("env/board.yaml", "main", MonotonicClock())
    assert upkeep.place == PowercutBoardDriver.place_name(board("env/board.yaml"))
    assert upkeep.place == PowercutBoardDriver.place_name(board(str(tmp_path / "env/board.yaml")))


def test_a_rig_that_is_gone_is_still_called_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERCUT_CACHE", str(tmp_path / "cache"))
    upkeep = Upkeep("env/board.yaml", "main", MonotonicClock())
    monkeypatch.setattr("powercut.upkeep.attach", lambda *_, **__: nullcontext(rig_at("rack-7")))
    monkeypatch.setattr("powercut.upkeep.target_of", lambda *_: nullcontext(MagicMock()))
    assert upkeep.rig.device.power.place == "rack-7"
    upkeep.set_aside("its console is dead")
    assert upkeep.place == "rack-7"


def rig_at(place: str) -> Any:
    return SimpleNamespace(device=SimpleNamespace(power=SimpleNamespace(place=place, physical=True)))


def test_what_a_place_was_cost_and_why_it_is_set_aside_are_told_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERCUT_CACHE", str(tmp_path / "cache"))
    upkeep = Upkeep("env/board.yaml", "main", MonotonicClock())
    wear_of(local_place("env/board.yaml", "main")).add(cuts=3)
    upkeep.set_aside("its console is dead")
    store = Store(tmp_path / "out", 1 << 20)
    session = Session(upkeep, store, "env/board.yaml", "c7f2", LossModel.NONE)
    session.tell_of_place(first=False)
    (told,) = places(tmp_path / "out", "c7f2")
    assert told["run"]["cuts"] == 3
    assert told["aside"] == "its console is dead"
