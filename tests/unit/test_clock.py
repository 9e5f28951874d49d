"""Time with deadlines."""

from __future__ import annotations

import pytest

from powercut.clock import Deadline, MonotonicClock, poll


class Stepped:
    """A clock that moves only when somebody rests on it."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.rests: list[float] = []

    def now(self) -> float:
        return self.now_s

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now_s += seconds


@pytest.fixture
def clock() -> Stepped:
    return Stepped()


def test_a_deadline_is_one_point_in_time(clock: Stepped) -> None:
    deadline = Deadline(clock, 5.0)
    clock.rest(2.0)
    assert (deadline.remaining_s, deadline.expired) == (3.0, False)
    clock.rest(4.0)
    assert (deadline.remaining_s, deadline.expired) == (0.0, True)


def test_the_first_answer_ends_the_waiting(clock: Stepped) -> None:
    answers = iter([None, 0, "", "here", "late"])
    assert poll(lambda: next(answers), clock, limit_s=10, every_s=1) == "here"
    assert clock.rests == [1, 1, 1]


def test_what_never_comes_is_waited_for_exactly_as_long_as_allowed(clock: Stepped) -> None:
    assert poll(lambda: None, clock, limit_s=2.5, every_s=1) is None
    assert clock.rests == [1, 1, 0.5]


def test_even_without_time_there_is_one_look(clock: Stepped) -> None:
    assert poll(lambda: "here", clock, limit_s=0)
    assert poll(lambda: None, clock, limit_s=0) is None
    assert clock.rests == []


def test_the_last_look_comes_after_the_last_rest(clock: Stepped) -> None:
    assert poll(lambda: clock.now_s >= 102.5, clock, limit_s=2.5, every_s=1)


def test_the_machines_clock_goes_on_while_one_rests() -> None:
    clock = MonotonicClock()
    began_s = clock.now()
    clock.rest(0.01)
    assert clock.now() - began_s >= 0.01
