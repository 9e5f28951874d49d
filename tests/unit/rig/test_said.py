"""What a board said, and what it nearly said: a wire that loses a byte makes no verdict."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from powercut.errors import RigError
from powercut.lab.familiar import Familiar
from powercut.rig.core import Rig

DONE = r"OTA: done"


class Hears(Rig):
    """A rig of which only the console is there."""

    def __init__(self, folder: Path, *said: str, physical: bool = True) -> None:
        lines = [SimpleNamespace(text=line) for line in said]
        power = SimpleNamespace(physical=physical, familiar=Familiar(folder / "start.json"), place="rack-7")
        power.familiar.learn(["OTA: done 1.1"])
        self.device: Any = SimpleNamespace(
            power=power,
            lines=lambda: lines,
            missed=False,
            said=lambda pattern: next((line for line in lines if pattern in line.text), None),
        )


def test_a_line_that_came_whole_was_said(tmp_path: Path) -> None:
    assert Hears(tmp_path, "OTA: target 1.2", "OTA: done 1.2")._said(DONE)


def test_a_line_that_nearly_came_is_the_wires_fault(tmp_path: Path) -> None:
    with pytest.raises(RigError, match=r"'OTA: don #.#' is nearly what 'OTA: done' is known to match"):
        Hears(tmp_path, "OTA: target 1.2", "OTA: don 1.2")._said(DONE)


def test_a_line_that_never_came_was_not_said(tmp_path: Path) -> None:
    assert not Hears(tmp_path, "OTA: target 1.2", "OTA: failed")._said(DONE)


def test_a_virtual_console_changes_nothing(tmp_path: Path) -> None:
    assert not Hears(tmp_path, "OTA: don 1.2", physical=False)._said(DONE)


def test_a_line_that_may_have_been_missed_is_nobodys(tmp_path: Path) -> None:
    late = Hears(tmp_path, "root@device:# ")
    late.device.missed = True
    with pytest.raises(RigError, match="silent until it was written to"):
        late._said(DONE)
