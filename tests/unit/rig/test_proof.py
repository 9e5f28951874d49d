"""What a board has to show before it is believed."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from powercut.device import Silent
from powercut.errors import RigError
from powercut.model import Boot, PowerOff
from powercut.rig.proof import NeverOff, check_started_anew, confirmed, prove, started_anew

UP = Boot("new", "1.0", "c0ffee", confirmed=True, boot_s=9.0, uptime_s=6.0)
OFF = PowerOff(asked_s=100.0, acknowledged_s=100.1, last_life_s=100.05, confirmed_s=100.6, by=("silent",))


@pytest.mark.parametrize(
    ("boot_id", "uptime_s"),
    [("new", 6.0), ("old", 6.0), ("new", 8.9), ("new", None)],
    ids=["a new start", "a device whose boot id never changes", "a boot loader that takes no time", "no uptime"],
)
def test_a_kernel_that_is_younger_than_the_power_started_anew(boot_id: str, uptime_s: float | None) -> None:
    check_started_anew(rig(), replace(UP, boot_id=boot_id, uptime_s=uptime_s), "old", 9.0)


@pytest.mark.parametrize(
    ("boot_id", "uptime_s", "says"),
    [
        ("old", 12.0, "up for 12 s, given power 9 s ago; it has the boot id of before the cut"),
        ("restarted by itself", 12.0, "up for 12 s, given power 9 s ago; it has another boot id"),
        ("old", None, "it has the boot id of before the cut, and does not say how long it is up"),
    ],
)
def test_a_kernel_that_is_older_than_the_power_was_never_off(boot_id: str, uptime_s: float | None, says: str) -> None:
    with pytest.raises(NeverOff, match=f"the device runs on: {says}"):
        check_started_anew(rig(), replace(UP, boot_id=boot_id, uptime_s=uptime_s), "old", 9.0)


def test_a_start_without_a_banner_confirms_no_cut() -> None:
    mute = rig()
    mute.device.power.greeted = False
    with pytest.raises(RigError, match="no line of this start is like '\\^BOOT: '"):
        check_started_anew(mute, UP, "old", 9.0)


@pytest.mark.parametrize(
    ("before", "more"), [("old", ("a fresh banner", "a new boot id")), ("new", ("a fresh banner",))]
)
def test_the_start_that_follows_confirms_a_cut(before: str, more: tuple[str, ...]) -> None:
    assert started_anew(OFF, UP, before).by == ("silent", *more)


def never_up(_limit_s: float) -> None:
    raise Silent("nothing")


def rig(**parts: Any) -> Any:
    """A rig of which only what is asked for is there."""
    switched = parts.setdefault("switched", [])
    reader = SimpleNamespace(mark=lambda: 0, lines=lambda _mark: [])
    familiar = parts.pop("familiar", None)
    power = SimpleNamespace(physical=True, alive=True, place="rack-7", familiar=familiar, reader=reader)
    power.greeted, power.banner = True, "^BOOT: "
    device = SimpleNamespace(
        power=power,
        at_shell=True,
        answers=lambda: False,
        garbage=lambda: 0.0,
        console_losses=lambda: (0, 4096),
        power_off=lambda: switched.append("off"),
        power_on=lambda: switched.append("on"),
        await_shell=never_up,
        **parts,
    )
    moments = count(102)
    clock = SimpleNamespace(now=lambda: float(next(moments)), rest=lambda _seconds: None)
    origin = SimpleNamespace(last_heard_s=lambda: None, telling=False)
    return SimpleNamespace(device=device, clock=clock, origin=origin, setup=SimpleNamespace(boot_s=60.0))


def test_a_board_with_a_shell_is_believed_when_its_console_loses_nothing() -> None:
    prove(rig())


@pytest.mark.parametrize(
    ("part", "value", "says"),
    [
        ("console_losses", lambda: (3, 4096), "loses or changes 3 of 4096 bytes"),
        ("garbage", lambda: 0.02, "2.0% of what the console says is garbage"),
    ],
)
def test_a_violation_seen_over_a_bad_wire_is_not_believed(part: str, value: Any, says: str) -> None:
    bad = rig()
    setattr(bad.device, part, value)
    with pytest.raises(RigError, match=says):
        prove(bad)


def test_a_violation_of_a_shell_that_stopped_answering_is_not_believed() -> None:
    bad = rig()

    def silent() -> tuple[int, int]:
        raise Silent("nothing")

    bad.device.console_losses = silent
    with pytest.raises(RigError, match="the shell does not answer"):
        prove(bad)


def test_a_dead_console_or_supply_proves_nothing() -> None:
    bad = rig()
    bad.device.power.alive = False
    with pytest.raises(RigError, match="the console is silent"):
        prove(bad)


@pytest.mark.parametrize(
    ("garbled", "says"),
    [((5, 10), "5 lines are nearly as usual|5 lines are nearly"), ((0, 0), "nothing .* known from a .*start")],
)
def test_a_board_that_is_down_is_believed_only_if_it_speaks_as_usual(garbled: tuple[int, int], says: str) -> None:
    bad = rig(familiar=SimpleNamespace(garbled=lambda _lines: garbled, __bool__=lambda: True))
    bad.device.at_shell = False
    with pytest.raises(RigError, match=says):
        prove(bad)


def test_a_board_that_comes_up_in_the_proof_is_not_believed_to_have_been_down() -> None:
    late = rig(familiar=SimpleNamespace(garbled=lambda _lines: (0, 10), __bool__=lambda: True))
    late.device.at_shell, late.device.await_shell = False, lambda _limit_s: None
    with pytest.raises(RigError, match="was when switched off and on once more"):
        prove(late)
    assert late.device.switched == ["off", "on"]


def test_a_board_that_still_has_a_shell_is_not_switched_for_the_proof() -> None:
    left = rig()
    left.device.at_shell, left.device.answers = False, lambda: True
    prove(left)
    assert left.device.switched == []


def test_a_board_that_stays_down_and_speaks_as_usual_is_believed() -> None:
    down = rig(familiar=SimpleNamespace(garbled=lambda _lines: (0, 10), __bool__=lambda: True))
    down.device.at_shell = False
    prove(down)


@pytest.mark.parametrize("says_it", [True, False])
def test_a_start_that_did_not_confirm_is_believed_when_the_next_does_not_either(says_it: bool) -> None:
    doubted = rig(await_said=lambda _pattern, _limit_s: "HEALTH: OK" if says_it else None)
    doubted.setup.confirmed, doubted.setup.command_s, doubted.reboot = "HEALTH: OK", 20.0, lambda: None
    if not says_it:
        prove(doubted, unconfirmed=True)
        return
    with pytest.raises(RigError, match="no line of one start was like 'HEALTH: OK', and one of the next was"):
        prove(doubted, unconfirmed=True)


def test_a_virtual_board_needs_no_proof() -> None:
    virtual = rig()
    virtual.device.power.physical = virtual.device.power.alive = False
    prove(virtual)
    assert confirmed(virtual, OFF) is OFF


def test_a_network_that_answers_after_the_cut_has_power() -> None:
    lives = rig()
    lives.origin.last_heard_s = lambda: 101.9
    with pytest.raises(RigError, match=r"its network still answers 1.9 s after the cut"):
        confirmed(lives, OFF)


def test_dead_lines_confirm_a_cut_where_a_living_board_would_answer() -> None:
    telling = rig()
    telling.origin.last_heard_s, telling.origin.telling = lambda: 100.02, True
    assert confirmed(telling, OFF).by == ("silent", "no line to the origin answers")
    assert confirmed(rig(), OFF).by == ("silent",)
