"""Which slot boots: the same states as the boot loader's script meets."""

from __future__ import annotations

import pytest

from powercut.integrity.slots import Choice, choose

CONFIRMED = {
    "ORDER": "A B",
    "A_OK": "1",
    "A_TRY": "0",
    "A_GOOD": "1",
    "A_FAIL": "0",
    "B_OK": "0",
    "B_TRY": "0",
    "B_GOOD": "0",
    "B_FAIL": "0",
}
NEW = {**CONFIRMED, "ORDER": "B A", "B_OK": "1"}
BOTH = {**NEW, "B_GOOD": "1"}


def taken(*without: str, **changed: str) -> Choice:
    """What boots from NEW with some variables changed; `without`: slots in which there is no kernel."""
    return choose({**NEW, **changed}, lambda slot: slot not in without)


def test_a_slot_that_is_not_ok_could_not_boot() -> None:
    choice = choose(CONFIRMED, lambda _slot: True)
    assert (choice.slot, choice.bootable, choice.confirmed) == ("A", ("A",), "A")


def test_a_new_slot_is_tried_and_the_confirmed_one_stays_confirmed() -> None:
    assert (taken().slot, taken().bootable, taken().confirmed) == ("B", ("B", "A"), "A")


@pytest.mark.parametrize(("tries", "slot"), [("0", "B"), ("2", "B"), ("3", "A"), ("9", "A")])
def test_a_new_slot_has_three_tries(tries: str, slot: str) -> None:
    assert taken(B_TRY=tries).slot == slot


@pytest.mark.parametrize(("fails", "slot"), [("0", "B"), ("5", "B"), ("8", "B"), ("9", "A")])
def test_a_confirmed_slot_is_left_only_after_nine_boots(fails: str, slot: str) -> None:
    assert choose({**BOTH, "B_FAIL": fails}, lambda _slot: True).slot == slot


def test_a_confirmed_slot_comes_before_the_other_one_as_confirmed() -> None:
    assert choose(BOTH, lambda _slot: True).confirmed == "B"
    assert choose({**BOTH, "B_OK": "0"}, lambda _slot: True).confirmed == "A"


def test_a_slot_without_a_kernel_is_passed_over() -> None:
    assert taken("B").slot == "A"
    assert taken("A", "B").slot is None


def test_a_slot_that_is_not_ok_never_boots_even_alone() -> None:
    assert choose(CONFIRMED, lambda slot: slot == "B").slot is None


def test_when_every_try_is_used_up_the_confirmed_slot_comes_first() -> None:
    assert taken(B_TRY="3", A_FAIL="9").slot == "A"
    assert taken(B_TRY="3", A_GOOD="0", A_TRY="3").slot == "B"


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"A_TRY": "X"}, "boot environment has A_TRY='X'"),
        ({"B_OK": ""}, "boot environment has B_OK=''"),
        ({"ORDER": "C A"}, "boot environment has ORDER='C A'"),
        ({"ORDER": ""}, "boot environment orders no slot"),
    ],
)
def test_a_value_that_nobody_writes_is_told(changed: dict[str, str], problem: str) -> None:
    assert taken(**changed).problems == (problem,)
    assert taken(MINE="whatever").problems == ()


def test_an_empty_environment_boots_what_the_script_defaults_to() -> None:
    assert choose({}, lambda _slot: True).slot == "A"
