"""One QEMU process: it starts or says why, and it is never left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from powercut.clock import poll
from powercut.errors import RigError, UsageError
from powercut.lab.process import QEMU, version

from .conftest import CLOCK, Fork, eventually, kill, processes_that_name

BINARY = "qemu-system-x86_64"
Start = Callable[..., QEMU]


def started(folder: Path, machine: str = "none", binary: str = BINARY) -> QEMU:
    """A QEMU without a guest: console and monitor answer, nothing runs."""
    console, monitor = folder / "console.sock", folder / "monitor.sock"
    args = [binary, "-nodefaults", "-display", "none", "-machine", machine, "-S"]
    args += ["-chardev", f"socket,id=console0,path={console},server=on,wait=off"]
    args += ["-qmp", f"unix:{monitor},server=on,wait=off"]
    return QEMU(args, console, monitor, folder / "qemu.err", CLOCK)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as ended:

        def run(**different: str) -> QEMU:
            qemu = started(tmp_path, **different)
            ended.callback(qemu.close)
            return qemu

        yield run


def test_a_started_qemu_answers_on_its_monitor(start: Start) -> None:
    qemu = start()
    assert qemu.running
    assert qemu.ask("query-status")["status"] == "prelaunch"
    assert poll(lambda: qemu.ask("query-status") and qemu.cpu_s() > 0, CLOCK, limit_s=20.0)


def test_a_killed_one_is_gone_when_kill_returns(start: Start, tmp_path: Path) -> None:
    qemu = start()
    assert processes_that_name(tmp_path) == [qemu.pid]
    began_s = CLOCK.now()
    assert began_s <= qemu.kill() <= CLOCK.now()
    assert not qemu.running
    assert processes_that_name(tmp_path) == []
    assert qemu.cpu_s() == 0.0
    qemu.kill()


def test_a_machine_that_there_is_not_is_told_in_qemus_words_and_leaves_no_process(start: Start, tmp_path: Path) -> None:
    with pytest.raises(RigError, match=r"QEMU ended at once: .*unsupported machine type") as told:
        start(machine="toaster")
    assert str(told.value).count("unsupported machine type") == 1
    assert processes_that_name(tmp_path) == []


def test_a_qemu_that_is_not_installed_is_the_users_to_install(start: Start) -> None:
    with pytest.raises(UsageError, match="qemu-system-abacus is not installed"):
        start(binary="qemu-system-abacus")
    with pytest.raises(UsageError, match="qemu-system-abacus"):
        version("qemu-system-abacus")


def test_a_refused_command_is_told_in_qemus_words(start: Start) -> None:
    with pytest.raises(RigError, match=r"make-coffee: .*has not been found"):
        start().ask("make-coffee")


def test_a_monitor_that_is_gone_is_a_fault_of_the_rig(start: Start) -> None:
    qemu = start()
    qemu.kill()
    with pytest.raises(RigError, match="query-status"):
        qemu.ask("query-status")


def run_for_ever(folder: Path) -> None:
    qemu = started(folder)
    (folder / "pid").write_text(str(qemu.pid))
    CLOCK.rest(60)


def test_it_dies_with_the_process_that_started_it(tmp_path: Path, fork: Fork) -> None:
    parent = fork(run_for_ever, tmp_path)
    assert eventually((tmp_path / "pid").exists)
    assert processes_that_name(tmp_path)
    kill(parent)
    assert eventually(lambda: processes_that_name(tmp_path) == [])


def test_a_version_is_the_first_line() -> None:
    assert version(BINARY).startswith("QEMU emulator version ")


def test_who_waits_for_a_processor_is_counted_until_it_is_gone(start: Start) -> None:
    qemu = start()
    waited = [qemu.waiting_s() for _ in range(3)]
    assert waited == sorted(waited)
    qemu.kill()
    assert qemu.waiting_s() >= waited[-1]
