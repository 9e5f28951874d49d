"""Whether the processes behind a user name of ours still live, and what a guard does that can't give a place back."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from powercut.clock import MonotonicClock
from powercut.lab import left_behind
from powercut.lab.places.guard import give_back
from powercut.lab.places.owner import Owner, owner_of, started, this_machine

NOBODY = 4194303  # the largest process id that there can be


def owner(pid: int, guard: int) -> Owner:
    return Owner(pid, started(pid), guard, started(guard), this_machine(), "00c0ffee")


def test_a_user_name_is_read_as_it_was_written() -> None:
    ours = owner(os.getpid(), os.getppid())
    assert owner_of(f"desk/{ours.user}") == ours
    assert ours.began > 0


def test_the_process_that_uses_a_place_keeps_it() -> None:
    assert not owner(os.getpid(), NOBODY).orphaned


def test_a_process_that_is_gone_leaves_its_place_to_the_guard() -> None:
    left = owner(NOBODY, os.getpid())
    assert left.orphaned
    assert not left.dead
    assert owner(NOBODY, NOBODY).dead


def test_a_process_id_that_was_given_to_somebody_else_is_not_the_owner() -> None:
    reused = replace(owner(os.getpid(), os.getpid()), began=7)
    assert reused.orphaned
    assert not reused.dead
    assert replace(reused, guard_began=7).dead


def test_one_that_was_killed_and_not_waited_for_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        held = owner(process.pid, process.pid)
        assert not held.dead
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert held.dead


def test_what_another_machine_holds_is_not_ours_to_judge() -> None:
    assert not replace(owner(NOBODY, NOBODY), machine="00000000").orphaned


def test_a_guard_that_gives_up_leaves_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERCUT_CACHE", str(tmp_path))
    assert not give_back("127.0.0.1:1", "desk/powercut-1-2", MonotonicClock(), limit_s=0)
    (told,) = left_behind.taken()
    assert "labgrid coordinator 127.0.0.1:1: what desk/powercut-1-2 held was not given back in 0 s: can't be r" in told
    assert "release --kick" in told
