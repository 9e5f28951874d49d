"""Answers over a wire that may garble: asked for again until they are exact, or said to be garbled."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pexpect
import pytest

from powercut.clock import MonotonicClock
from powercut.device import Answer, Device, Garbled, PowerLost, Silent
from powercut.errors import RigError

Spoil = Callable[[str], str]


def exactly(text: str) -> str:
    return text


class OverAWire(Device):
    """A device whose shell is this host's, and whose console spoils what is said, both ways."""

    def __init__(self, spoil: Spoil, *, starts: list[str] | None = None) -> None:
        self.spoil = spoil
        self.asked = 0
        self.silences = 0
        self.clock = MonotonicClock()
        said = starts or []
        reader = SimpleNamespace(
            mark=lambda: 0,
            lines=lambda _since=0: [SimpleNamespace(text=line) for line in said],
            watch=lambda _pattern, _fire: lambda: None,
            interrupt=lambda _interrupted=True: None,
        )
        self.starts_anew = bool(starts)
        self.power: Any = SimpleNamespace(
            physical=True, reader=reader, banner="U-Boot", starts=lambda _mark: 1, get=lambda: True, place="rack-7"
        )
        self._console: Any = SimpleNamespace(sendline=lambda _line: None)

    def run(self, command: str, limit_s: float | None = None) -> Answer:
        self.asked += 1
        if self.silences:
            self.silences -= 1
            raise Silent("nothing")
        if self.starts_anew:
            raise PowerLost
        done = subprocess.run(
            ["sh", "-c", self.spoil(command)], capture_output=True, text=True, timeout=20, check=False
        )
        printed = self.spoil(done.stdout)
        return Answer(
            tuple(printed.split("\n")[:-1] if printed.endswith("\n") else printed.split("\n")), done.returncode
        )


def in_turn(*spoils: Spoil) -> Spoil:
    """The first thing that is said is spoilt by the first, the second by the second; what follows arrives."""
    left = list(spoils)

    def spoil(text: str) -> str:
        return left.pop(0)(text) if left else text

    return spoil


def losing(part: float, seed: int) -> Spoil:
    rng = Random(seed)
    return lambda text: "".join(letter for letter in text if rng.random() > part)


@pytest.mark.parametrize(
    ("command", "lines", "code"),
    [
        ("echo one; echo two", ("one", "two"), 0),
        ("echo 'quoted \"both\" ways' $((1 + 1))", ('quoted "both" ways 2',), 0),
        ("echo wrong >&2; exit 3", ("wrong",), 3),
        ("true", (), 0),
        ("printf 'a\\n\\nb\\n'", ("a", "", "b"), 0),
    ],
)
def test_an_answer_is_what_the_device_gave(command: str, lines: tuple[str, ...], code: int) -> None:
    device = OverAWire(exactly)
    assert device.ask(command) == Answer(lines, code)
    assert device.asked == 1


def test_an_answer_that_lost_a_byte_is_asked_for_again() -> None:
    device = OverAWire(in_turn(exactly, lambda text: text.replace("seven", "sven")))
    assert device.ask("echo seven") == Answer(("seven",), 0)
    assert device.asked == 2


def test_a_command_that_lost_a_byte_is_not_taken_for_its_answer() -> None:
    device = OverAWire(in_turn(lambda text: text.replace("echo seven", "echo seve")))
    assert device.ask("echo seven") == Answer(("seven",), 0)
    assert device.asked == 2


def test_an_answer_whose_frame_was_garbled_is_asked_for_again() -> None:
    device = OverAWire(exactly)
    device.silences = 1
    assert device.ask("echo seven") == Answer(("seven",), 0)


def test_a_shell_that_does_not_answer_is_named() -> None:
    device = OverAWire(exactly)
    device.silences = 9
    with pytest.raises(Garbled, match="no answer"):
        device.ask("echo seven")
    assert device.asked == 2


def test_a_board_without_md5sum_is_not_called_garbled(monkeypatch: pytest.MonkeyPatch) -> None:
    device = OverAWire(lambda text: text.replace("| md5sum", "| sh -c 'echo sh: md5sum: not found'"))
    with pytest.raises(RigError, match="the board has no md5sum"):
        device.ask("echo seven")


def test_a_wire_that_garbles_all_the_time_is_named() -> None:
    with pytest.raises(Garbled, match="the console garbles what is said, 3 times in a row"):
        OverAWire(losing(0.02, 1)).ask("echo " + "seven " * 20)


@pytest.mark.parametrize("seed", range(20))
def test_no_garbled_answer_is_ever_believed(seed: int) -> None:
    device = OverAWire(losing(0.003, seed))
    try:
        assert device.ask("echo one two three; exit 4") == Answer(("one two three",), 4)
    except Garbled:
        assert device.asked == 3


def test_losses_of_the_console_are_counted() -> None:
    assert OverAWire(exactly).console_losses()[0] == 0
    lost, whole = OverAWire(in_turn(exactly, losing(0.01, 5))).console_losses()
    assert 0.005 < lost / whole < 0.02


def test_a_board_that_starts_anew_in_a_command_has_lost_its_power_to_somebody_else() -> None:
    device = OverAWire(exactly, starts=["OTA: applying", "U-Boot 2024.01"])
    with pytest.raises(RigError, match="started anew in the middle of a command"):
        device.run_once("ota-update", 1.0)


def test_a_board_that_panics_in_a_command_is_not_the_labs_fault() -> None:
    device = OverAWire(exactly, starts=["Kernel panic - not syncing: Attempted to kill init!", "U-Boot 2024.01"])
    with pytest.raises(Silent):
        device.run_once("ota-update", 1.0)


def test_a_command_that_must_run_once_runs_once_and_tells_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("powercut.device.CODE_FILE", str(tmp_path / "code"))
    device = OverAWire(exactly)
    answer = device.run_once(f"echo run >>{tmp_path}/runs; exit 5", 10.0)
    assert answer.exit_code == 5
    assert (tmp_path / "runs").read_text() == "run\n"


class Prompts:
    """A console whose prompt comes only after a line feed was typed, or never."""

    def __init__(self, *, comes: bool) -> None:
        self.comes, self.typed = comes, 0
        self.waited_s: list[float] = []

    def sendline(self, _line: str) -> None:
        self.typed += 1

    def expect(self, _wanted: list[str], timeout: float) -> None:
        self.waited_s.append(timeout)
        if not (self.comes and self.typed):
            raise pexpect.TIMEOUT("nothing")


def behind_a_dead_line(console: Prompts, *, physical: bool = True) -> OverAWire:
    device = OverAWire(exactly)
    device._console, device._since = console, 0
    device._shell = SimpleNamespace(prompt="# ", login_prompt="login: ", login_timeout=0)
    device._target = SimpleNamespace(activate=lambda _driver: None)
    setup: Any = SimpleNamespace(accepted=None, command_s=20.0)
    device.setup = setup
    device.power.physical, device.power.stalled, device.power.waited_s = physical, lambda: False, 0.0
    return device


def test_a_board_that_said_its_prompt_over_a_dead_line_is_up() -> None:
    device = behind_a_dead_line(Prompts(comes=True))
    device.await_shell(60.0)
    assert device.at_shell
    assert device.missed


@pytest.mark.parametrize(("comes", "physical"), [(False, True), (True, False)], ids=["down", "a virtual board"])
def test_a_board_without_a_prompt_is_silent(comes: bool, physical: bool) -> None:
    with pytest.raises(Silent):
        behind_a_dead_line(Prompts(comes=comes), physical=physical).await_shell(60.0)


@pytest.mark.parametrize(("starved_s", "fault"), [(50.0, RigError), (5.0, Silent)], ids=["a busy host", "its own"])
def test_a_silence_is_the_boards_only_where_its_host_let_it_run(starved_s: float, fault: type[Exception]) -> None:
    device = behind_a_dead_line(Prompts(comes=False), physical=False)
    moments = iter([0.0, 0.0, 0.0, 100.0, 100.0])
    device.clock = SimpleNamespace(now=lambda: next(moments))
    waits = iter([0.0, starved_s])

    class Waits(SimpleNamespace):
        @property
        def waited_s(self) -> float:
            return next(waits)

    device.power = Waits(physical=False, stalled=lambda: False, reader=device.power.reader)
    with pytest.raises(fault):
        device.await_shell(60.0)
