"""Processes that can be killed, and a look at those that are left."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from powercut.clock import MonotonicClock, poll

LIMIT_S = 10.0
CLOCK = MonotonicClock()

Fork = Callable[..., BaseProcess]


def eventually(ready: Callable[[], object]) -> bool:
    """Whether `ready` holds within a generous limit."""
    return bool(poll(ready, CLOCK, limit_s=LIMIT_S, every_s=0.005))


def processes_that_name(text: object) -> list[int]:
    """The ids of all processes whose command line holds `text`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(text).encode() in path.read_bytes() and path.parent.name != str(os.getpid()):
                found.append(int(path.parent.name))
    return found


def kill(process: BaseProcess) -> None:
    """SIGKILL, as a machine that runs out of memory does it."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(LIMIT_S)


@pytest.fixture
def fork() -> Iterator[Fork]:
    """Runs a function in a process of its own."""
    with ExitStack() as ended:

        def run(what: Callable[..., None], *args: object) -> BaseProcess:
            process = multiprocessing.get_context("fork").Process(target=what, args=args, daemon=True)
            process.start()
            ended.callback(process.kill)
            return process

        yield run
