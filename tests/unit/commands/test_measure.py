"""How fast a console is, from the stamps of its lines, and boards that don't start after too little time off."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from powercut.commands.calibrate.measure import Bench, measured, rate
from powercut.commands.calibrate.shortest import CLOSE_ENOUGH
from powercut.device import Answer, Silent
from powercut.lab.reader import Line
from powercut.model import PowerOff


def test_the_rate_counts_what_came_after_the_first_stamp() -> None:
    lines = [Line(10.0, "x" * 98), Line(10.0, "x" * 98), Line(10.5, "x" * 98), Line(11.0, "x" * 98)]
    assert rate(lines, 9.0) == 200.0


def test_what_came_at_once_is_counted_from_when_it_was_asked_for() -> None:
    assert rate([Line(10.0, "x" * 98), Line(10.0, "x" * 98)], 9.0) == 200.0


def test_nothing_has_no_rate() -> None:
    assert rate([], 9.0) == 0.0


NEEDS_S = 0.5


class Board:
    """A board that hangs when its power was away for less than NEEDS_S, and says nothing then; time is made up."""

    def __init__(self) -> None:
        self.at_s, self.since, self.boots = 0.0, 0, 1
        self.hung = self.chatters = False
        self.said: list[Line] = []
        self.setup = SimpleNamespace(boot_s=20.0)
        self.clock = self.power = self.reader = self.wear = self.total = self
        self.place, self.supply_name, self.cuts = "rack-7", "the supply", 0
        self.off_s: float | None = None
        self.restored_s = 0.0

    def now(self) -> float:
        return self.at_s

    def rest(self, seconds: float) -> None:
        self.at_s += max(seconds, 0.01)
        if self.chatters:
            self.said.append(Line(self.at_s, "chatter 7.25"))

    def mark(self) -> int:
        return len(self.said)

    def lines(self, mark: int | None = None) -> list[Line]:
        return self.said[self.since if mark is None else mark :]

    @property
    def heard_s(self) -> float:
        return self.said[-1].at_s

    def ask(self, _command: str) -> Answer:
        assert not self.hung
        return Answer((f"boot {self.boots}",), 0)

    def must(self, _command: str, _what: str) -> None:
        self.chatters = True

    def console_losses(self) -> tuple[int, int]:
        self.said.append(Line(self.at_s, "x"))
        return 0, 100

    def power_off(self) -> PowerOff:
        last_s, self.chatters = self.at_s, False
        self.cuts += 1
        return PowerOff(self.at_s, self.at_s, last_s, self.at_s, ("test",))

    def power_on(self) -> None:
        assert self.off_s is not None
        self.at_s += self.off_s
        self.restored_s, self.since = self.at_s, len(self.said)
        self.hung = self.off_s < NEEDS_S
        self.boots += not self.hung

    def await_shell(self, limit_s: float) -> None:
        self.rest(limit_s if self.hung else 5.0)
        if self.hung:
            raise Silent("console ends []")

    def bring_up(self) -> None:
        if self.hung:
            self.power_off()
            self.power_on()
            self.await_shell(20.0)


def test_a_board_that_hangs_after_too_little_time_without_power_is_measured_to_its_end() -> None:
    said: list[str] = []
    board: Any = Board()
    found = measured(Bench(board, "7", 3, said.append))
    assert NEEDS_S <= found.calibration.min_off_s <= CLOSE_ENOUGH * NEEDS_S
    assert "it did not come up" in said[1]
    assert board.off_s is None
    assert not board.hung


def test_a_board_that_hangs_after_any_time_without_power_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "NEEDS_S", 1000.0)
    board: Any = Board()
    with pytest.raises(Silent):
        measured(Bench(board, "7", 3, lambda _text: None))
