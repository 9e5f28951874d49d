"""A program of the lab: it dies with us even when we are killed with SIGKILL, and what it says goes to a file.

To be started from a thread that lives as long as the lab: `setpriv --pdeathsig` watches the thread, not the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from powercut.errors import RigError

START_LIMIT_S = 30.0
DYING_ARGS = ("setpriv", "--pdeathsig", "KILL", "--")


class Program:
    """One program that can be started, killed, and started again."""

    def __init__(self, name: str, args: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self._args = [*DYING_ARGS, *args]
        self._folder = folder
        self._env = {**os.environ, **env}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it said."""
        return self._folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.running:
            return
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                self._args,
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,  # Ctrl-C is for us
            )

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def hold_up(self) -> None:
        """SIGSTOP: it is there, and does nothing."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT, after `hold_up`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    async def until(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready`; raises RigError with what the program said when it ends, or takes too long."""
        for _ in range(int(START_LIMIT_S / 0.02)):
            if not self.running:
                raise RigError(f"{self.name} ended at once: {self.tail()}", self.name, "see what it says")
            if ready():
                return
            await asyncio.sleep(0.02)
        raise RigError(f"not ready in {START_LIMIT_S:.0f} s: {self.tail()}", self.name, "see the machine's load")

    def tail(self) -> str:
        """The end of what it said."""
        with contextlib.suppress(OSError):
            return self.log.read_text(errors="replace").strip()[-600:]
        return ""
