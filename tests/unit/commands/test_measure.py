"""How fast a console is, from the stamps of its lines."""

from __future__ import annotations

from powercut.commands.calibrate.measure import rate
from powercut.lab.reader import Line


def test_the_rate_counts_what_came_after_the_first_stamp() -> None:
    lines = [Line(10.0, "x" * 98), Line(10.0, "x" * 98), Line(10.5, "x" * 98), Line(11.0, "x" * 98)]
    assert rate(lines, 9.0) == 200.0


def test_what_came_at_once_is_counted_from_when_it_was_asked_for() -> None:
    assert rate([Line(10.0, "x" * 98), Line(10.0, "x" * 98)], 9.0) == 200.0


def test_nothing_has_no_rate() -> None:
    assert rate([], 9.0) == 0.0
