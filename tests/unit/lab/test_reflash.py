"""Writing the base release onto a board: by labgrid's own drivers, or by a command of this host."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from powercut.clock import MonotonicClock
from powercut.environment import Reflash
from powercut.errors import RigError, UsageError
from powercut.lab.reflash import reflash

from .conftest import eventually, processes_that_name

CLOCK = MonotonicClock()


class Recorder:
    """Drivers and power that write down in one list what is asked of them."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.on = True
        self.env = SimpleNamespace(
            config=SimpleNamespace(
                data={"images": {"golden": "golden.img"}},
                get_image_path=lambda name: f"/images/{name}.img",
                resolve_path=lambda path: f"/env/{path}",
            )
        )

    def __getattr__(self, name: str) -> Any:
        def note(*arguments: Any, **_: Any) -> Any:
            if name != "get":
                self.done.append((name, *[argument for argument in arguments if not isinstance(argument, Recorder)]))
            self.on = {"cut": False, "restore": True}.get(name, self.on)
            return {"stage": "tftp-file", "get": self.on}.get(name)

        return note

    def get_driver(self, kind: str, activate: bool = True) -> Any:
        self.done.append(("get_driver", kind))
        return self


def how(**ways: Any) -> Reflash:
    return Reflash(**ways)


def test_an_sd_card_is_written_while_the_board_is_off_and_given_back() -> None:
    parts: Any = Recorder()
    assert reflash(parts, how(sdmux="golden"), parts, "env") == "reflashed by sdmux"
    order = [step for step in parts.done if step[0] != "get_driver"]
    assert order[:3] == [("cut",), ("await_off",), ("set_mode", "host")]
    assert ("write_image", "/images/golden.img") in order
    assert order[-1] == ("set_mode", "dut")


def test_the_card_is_given_back_when_writing_fails() -> None:
    parts: Any = Recorder()

    def fail(_image: str) -> None:
        raise OSError("no card")

    parts.write_image = fail
    with pytest.raises(RigError, match="no card"):
        reflash(parts, how(sdmux="golden"), parts, "env")
    assert parts.done[-1] == ("set_mode", "dut")


def test_partitions_are_flashed_by_fastboot() -> None:
    parts: Any = Recorder()
    reflash(parts, how(fastboot={"boot": "golden", "root": "root.img"}), parts, "env")
    assert ("flash", "boot", "/images/golden.img") in parts.done
    assert ("flash", "root", "/env/root.img") in parts.done
    assert parts.done.index(("restore",)) < parts.done.index(("flash", "boot", "/images/golden.img"))


def test_the_boot_loader_fetches_what_tftp_offers() -> None:
    parts: Any = Recorder()
    reflash(parts, how(tftp="golden", uboot=("tftpboot $loadaddr {file}", "mmc write")), parts, "env")
    assert ("stage", "/images/golden.img") in parts.done
    assert ("run_check", "tftpboot $loadaddr tftp-file") in parts.done
    assert parts.done.index(("run_check", "mmc write")) > parts.done.index(("restore",))


def test_a_command_of_this_host_is_run_with_the_board_off(tmp_path: Path) -> None:
    parts: Any = Recorder()
    reflash(parts, how(command=f"echo written >{tmp_path}/out"), parts, "env")
    assert (tmp_path / "out").read_text() == "written\n"
    assert parts.done == [("cut",), ("await_off",)]


def test_a_command_that_fails_is_a_fault_of_the_rig_with_its_own_words() -> None:
    parts: Any = Recorder()
    with pytest.raises(RigError, match="ended with 3: no such board"):
        reflash(parts, how(command="echo no such board; exit 3"), parts, "env")


def hanging(_image: str) -> None:
    """As labgrid starts a program, in the session of this process, and waits for it."""
    subprocess.run(["sh", "-c", "sleep 63.25; true"], check=True)


def test_a_card_that_is_never_written_is_given_up_and_its_writer_is_ended() -> None:
    parts: Any = Recorder()
    parts.write_image = hanging
    began_s = CLOCK.now()
    with pytest.raises(RigError, match=r"env: reflash: sdmux: no end in 0.4 s"):
        reflash(parts, how(sdmux="golden", limit_s=0.4), parts, "env")
    assert CLOCK.now() - began_s < 5
    assert parts.done[-1] == ("set_mode", "dut")
    assert not parts.on
    assert eventually(lambda: not processes_that_name("63.25"))


def test_what_hangs_even_when_the_card_is_given_back_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("powercut.lab.bounded.CLEANUP_S", 0.3)
    parts: Any = Recorder()
    parts.write_image = hanging
    parts.set_mode = lambda mode: hanging(mode) if mode == "dut" else None
    with pytest.raises(RigError, match=r"no end in 0\.3 s"):
        reflash(parts, how(sdmux="golden", limit_s=0.3), parts, "env")


def test_a_boot_loader_that_hangs_is_given_up_and_left_without_power() -> None:
    parts: Any = Recorder()
    parts.run_check = lambda _command, timeout: CLOCK.rest(timeout + 30)
    with pytest.raises(RigError, match=r"env: reflash: uboot: no end in 0.3 s"):
        reflash(parts, how(tftp="golden", uboot=("mmc write",), limit_s=0.3), parts, "env")
    assert parts.done[-2:] == [("cut",), ("await_off",)]


def test_a_command_of_this_host_that_hangs_is_ended() -> None:
    parts: Any = Recorder()
    with pytest.raises(RigError, match=r"reflash: (command: )?no end in 0\.3 s"):
        reflash(parts, how(command="sleep 62.25", limit_s=0.3), parts, "env")
    assert eventually(lambda: not processes_that_name("62.25"))


def test_a_board_that_was_written_in_time_keeps_the_timers_of_others() -> None:
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _frame: rang.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        parts: Any = Recorder()
        reflash(parts, how(sdmux="golden"), parts, "env")
        assert eventually(lambda: rang)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("ways", [{}, {"command": "true", "sdmux": "golden"}])
def test_there_is_exactly_one_way(ways: dict[str, Any]) -> None:
    parts: Any = Recorder()
    with pytest.raises(UsageError, match="ways to reflash"):
        reflash(parts, how(**ways), parts, "env")
    assert parts.done == []
