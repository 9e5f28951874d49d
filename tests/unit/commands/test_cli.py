"""The command line: exit statuses, and what is left when a command does not reach its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from powercut import cli
from powercut.errors import RigError, UsageError

from .answers import QEMU

ANSWERS = [word for name, value in QEMU.items() for word in (f"--{name.replace('_', '-')}", value)]


def running(monkeypatch: pytest.MonkeyPatch, run: Any) -> int:
    """The exit status of a command that does `run`."""

    def add(commands: Any) -> None:
        commands.add_parser("try").set_defaults(run=run)

    monkeypatch.setattr(cli, "COMMANDS", (SimpleNamespace(add=add),))
    return cli.main(["try"])


def raising(fault: BaseException) -> Any:
    def run(_options: object) -> int:
        raise fault

    return run


@pytest.mark.parametrize(
    ("fault", "status"),
    [(UsageError("what", "where", "do"), 2), (RigError("what", "where", "do"), 3), (KeyboardInterrupt(), 130)],
    ids=["usage", "rig", "interrupt"],
)
def test_the_exit_status_says_who_can_mend_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fault: BaseException, status: int
) -> None:
    assert running(monkeypatch, raising(fault)) == status
    assert "Traceback" not in capsys.readouterr().err
    assert str(status) in cli.STATUSES


def test_a_bug_of_ours_is_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        running(monkeypatch, raising(ZeroDivisionError()))


def test_a_request_to_end_lets_go_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go: list[bool] = []

    def run(_options: object) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            let_go.append(True)
        return 0

    assert running(monkeypatch, run) == 130
    assert let_go == [True]


@pytest.mark.parametrize("command", ["init", "doctor", "calibrate"])
def test_the_help_of_a_command_tells_its_exit_statuses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert "exit status: 0 " in capsys.readouterr().out


@pytest.mark.parametrize("command", ["doctor", "calibrate"])
def test_a_command_without_an_environment_says_so(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LG_ENV", raising=False)
    assert cli.main([command]) == 2
    assert "give --lg-env FILE" in capsys.readouterr().err


def test_init_writes_and_says_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new/env.yaml"
    assert cli.main(["init", str(file), "--yes", *ANSWERS]) == 0
    assert file.read_text().startswith("# Written by `powercut init`")
    assert f"powercut doctor --lg-env {file}" in capsys.readouterr().out


def test_init_overwrites_only_when_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "env.yaml"
    file.write_text("mine")
    assert cli.main(["init", str(file), "--yes", *ANSWERS]) == 2
    assert file.read_text() == "mine"
    assert "--force" in capsys.readouterr().err
    assert cli.main(["init", str(file), "--yes", "--force", *ANSWERS]) == 0
    assert file.read_text() != "mine"


def test_init_without_answers_writes_nothing_and_says_one_line(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    line = [sys.executable, "-m", "powercut.cli", "init", str(file)]
    done = subprocess.run(line, input="board\n", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 130
    assert done.stderr.strip() == "powercut init: no more answers; nothing was written"
    assert not file.exists()
