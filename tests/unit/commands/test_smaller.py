"""Delta debugging: what is left still does it, nothing of it can go, and the bound holds."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.commands.shrink.smaller import Spent, furthest, smallest


def needing(*culprits: int) -> Callable[[tuple[int, ...]], bool]:
    """Does it when all of `culprits` are there."""
    return lambda items: {*culprits} <= {*items}


def bounded(still: Callable[[tuple[int, ...]], bool], at_most: int) -> Callable[[tuple[int, ...]], bool]:
    asked: list[object] = []

    def ask(items: tuple[int, ...]) -> bool:
        if len(asked) >= at_most:
            raise Spent
        asked.append(items)
        return still(items)

    return ask


@given(st.integers(1, 120), st.data())
def test_exactly_the_culprits_are_left(count: int, data: st.DataObject) -> None:
    culprits: Collection[int] = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=5))
    left, minimal = smallest(range(count), needing(*culprits))
    assert (sorted(left), minimal) == (sorted(culprits), True)


@given(st.sets(st.frozensets(st.integers(0, 15), min_size=1, max_size=4), min_size=1, max_size=4))
def test_of_several_causes_one_is_left_and_none_of_it_can_go(causes: set[frozenset[int]]) -> None:
    def still(items: tuple[int, ...]) -> bool:
        return any(cause <= {*items} for cause in causes)

    left, minimal = smallest(range(16), still)
    assert minimal
    assert still(left)
    assert not any(still(tuple(item for item in left if item != gone)) for gone in left)


def test_what_needs_nothing_is_left_with_nothing() -> None:
    assert smallest(range(50), lambda _: True) == ((), True)


def test_one_of_a_thousand_is_found_in_few_tries() -> None:
    assert smallest(range(1000), bounded(needing(617), 40)) == ((617,), True)


def test_a_bound_gives_the_best_so_far_and_says_that_it_is_no_minimum() -> None:
    left, minimal = smallest(range(64), bounded(needing(3, 60), 12))
    assert not minimal
    assert {3, 60} <= {*left} < {*range(64)}


@pytest.mark.parametrize(
    ("near", "far", "last", "found"), [(10, 99, 57, 57), (90, 3, 20, 20), (5, 9, 99, 9), (5, 5, 5, 5)]
)
def test_the_last_place_on_the_way_is_found(near: int, far: int, last: int, found: int) -> None:
    assert furthest(near, far, lambda at: abs(at - near) <= abs(last - near)) == (found, True)


def test_a_way_that_is_too_long_is_told() -> None:
    asked: list[int] = []

    def still(at: int) -> bool:
        if len(asked) == 3:
            raise Spent
        asked.append(at)
        return at < 100

    place, sure = furthest(0, 1000, still)
    assert (place < 100, sure) == (True, False)
