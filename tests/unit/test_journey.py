"""A route of several steps, on a rig of which only what is asked for is there."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from powercut.device import Answer, PowerLost
from powercut.errors import RigError
from powercut.journey import FILLER, Journey, Route, run_journey
from powercut.model import Evidence, LossModel, Outcome, PowerOff, Verdict
from powercut.trial import Plan, Trial

PLAN = Plan("route", "base", None, LossModel.NONE, "7", stimulus="route")
HOLDS = Verdict("a promise", Outcome.HOLDS)
VIOLATED = Verdict("another", Outcome.VIOLATED, "it broke")


SPACE = ("10 4096", "7 4096")


def rig(ran: list[str], says: tuple[str, ...] = SPACE, code: int = 0) -> Any:
    """A rig whose device notes the commands that it is given; `says`: its answer to every question."""

    def once(command: str, _limit_s: float) -> Answer:
        ran.append(command)
        return Answer((), 0)

    reader = SimpleNamespace(transcribe=lambda _path: None)
    device = SimpleNamespace(
        power=SimpleNamespace(reader=reader, physical=True, alive=True, place="rack-7", familiar=None),
        at_shell=True,
        garbage=lambda: 0.0,
        console_losses=lambda: (0, 4096),
        rest=lambda: None,
        tail=tuple,
        lines=list,
        run_once=once,
        ask=lambda _command: Answer(says, code),
    )
    ledger = SimpleNamespace(entries=list, write=lambda _file, since: None)
    setup = SimpleNamespace(
        release=lambda role: SimpleNamespace(version=role, role=role),
        refetch_at_most_bytes=0,
        confirmed=None,
        updates_within=1,
        boot_tries=3,
        command_s=60.0,
        downloads_to="/data",
        keep={},
    )
    return SimpleNamespace(
        setup=setup,
        evidence=Evidence.CONSOLE,
        device=device,
        clock=SimpleNamespace(now=lambda: 0.0, rest=lambda _seconds: None),
        origin=SimpleNamespace(
            ledger=ledger,
            arm=lambda _gate: None,
            drop_connections=lambda: None,
            last_heard_s=lambda: None,
            telling=False,
        ),
        known=lambda _rng, _start: nullcontext(),
        looked_s=0.0,
    )


def travelled(route: Route, folder: Path, ran: list[str] | None = None, **answers: Any) -> Trial:
    return run_journey(rig([] if ran is None else ran, **answers), PLAN, folder, route)


def test_what_held_on_a_route_that_came_to_its_end_holds(tmp_path: Path) -> None:
    def holding(device: Journey) -> None:
        device.judge(HOLDS)

    assert travelled(holding, tmp_path).judge("a promise")


@pytest.mark.parametrize("fault", [RigError("the PDU lied", "rack-7", "see it"), PowerLost()])
def test_what_held_up_to_a_fault_of_the_rig_is_inconclusive(tmp_path: Path, fault: Exception) -> None:
    def route(device: Journey) -> None:
        device.judge(HOLDS)
        device.judge(VIOLATED)
        raise fault

    trial = travelled(route, tmp_path)
    assert trial.judge("a promise").outcome is Outcome.INCONCLUSIVE
    assert trial.judge("another").outcome is Outcome.VIOLATED
    assert trial.lab_fault is not None


def test_the_first_verdict_of_a_promise_that_does_not_hold_stays(tmp_path: Path) -> None:
    def route(device: Journey) -> None:
        device.judge(Verdict("a promise", Outcome.VIOLATED, "first"))
        device.judge(Verdict("a promise", Outcome.VIOLATED, "second"))
        device.judge(HOLDS)

    assert travelled(route, tmp_path).judge("a promise").reason == "first"


def test_a_device_is_not_left_full(tmp_path: Path) -> None:
    def route(device: Journey) -> None:
        with device.filled(1000):
            raise RigError("the console went silent", "rack-7", "see it")

    ran: list[str] = []
    travelled(route, tmp_path, ran, says=("5 1000",))
    assert ran == [f"fallocate -l 4000 /data/{FILLER} && sync", f"rm -f /data/{FILLER} && sync"]


def test_nobody_watches_the_room_any_more_after_a_fault(tmp_path: Path) -> None:
    def route(device: Journey) -> None:
        with device.space() as least:
            pass
        assert least() == 7 * 4096
        with device.space():
            raise RigError("the console went silent", "rack-7", "see it")

    ran: list[str] = []
    travelled(route, tmp_path, ran)
    assert [command.startswith("kill") for command in ran] == [False, True, False, True]


def watches_the_room(device: Journey) -> None:
    device.judge(HOLDS)
    with device.space():
        pass


@pytest.mark.parametrize("says", [(), ("10 40~6",), ("10 4096", "7"), ("10 4096 5",)], ids=repr)
def test_an_answer_that_can_not_be_read_is_a_fault_of_the_lab(tmp_path: Path, says: tuple[str, ...]) -> None:
    trial = travelled(watches_the_room, tmp_path, says=says)
    assert "an answer that can't be read" in str(trial.lab_fault)
    assert trial.judge("a promise").outcome is Outcome.INCONCLUSIVE


def test_a_question_that_fails_is_a_fault_of_the_lab(tmp_path: Path) -> None:
    assert "failed with 1" in str(travelled(watches_the_room, tmp_path, code=1).lab_fault)


def test_a_condition_is_true_or_false_or_nobody_knows(tmp_path: Path) -> None:
    found: list[bool] = []
    for says in (("yes",), ("no",), ("n",)):
        trial = travelled(lambda device: found.append(device.holds("test -e /x")), tmp_path, says=says)
    assert found == [True, False]
    assert "an answer that can't be read: 'n'" in str(trial.lab_fault)


def restarting(starts: int) -> Any:
    """A rig whose device is in its start number `starts` when it is told to restart, until its power goes."""
    cut, told = threading.Event(), threading.Event()
    made = rig([])
    off = PowerOff(0.0, 0.0, None, 0.0, ("the console is silent",))
    power = made.device.power
    power.reader.mark, power.lead_s = (lambda: 7), 0.0
    power.starts = lambda since: starts if since == 7 and told.is_set() else 0

    def restart() -> None:
        told.set()
        if cut.wait(0.3):
            raise PowerLost

    made.restart = restart
    made.device.cut, made.device.power_off, made.device.disk = cut.set, (lambda: off), None
    return made


@pytest.mark.parametrize(("starts", "cut"), [(2, True), (1, False)])
def test_a_start_is_cut_where_the_device_comes_to_it(tmp_path: Path, starts: int, cut: bool) -> None:
    found: list[bool] = []
    trial = run_journey(restarting(starts), PLAN, tmp_path, lambda device: found.append(device.cut_start(2, 0.01)))
    assert (found, trial.lab_fault) == ([cut], None)
    assert [step.what for step in trial.seen.steps] == (["power lost"] if cut else []) + ["restart"]


def test_a_device_that_loses_its_power_by_itself_in_a_restart_was_not_cut(tmp_path: Path) -> None:
    def lost() -> None:
        raise PowerLost

    broken = restarting(0)
    broken.clock.now = count(0.0, 0.5).__next__
    broken.restart = lost

    def cut_in_the_start(device: Journey) -> None:
        device.cut_start(1, 0.0)

    assert "stopped answering" in str(run_journey(broken, PLAN, tmp_path, cut_in_the_start).lab_fault)
