"""An outlet of a power switch: what its contact does, what it says it does, and which boards hang on it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from .board import Board

Value = float | str | None


class Failed(Exception):  # noqa: N818  (an answer)
    """The power switch answers with an error."""


class NoAnswer(Exception):  # noqa: N818  (an answer)
    """The power switch never answered; its fault has been healed meanwhile."""


class Outlet:
    """The outlet of one place. `faults` by name, with their values; change them by `misbehave` and `heal` only."""

    def __init__(self, index: int, board: str, boards: Mapping[str, Board]) -> None:
        self.index = index
        self.faults: dict[str, Value] = {}
        self.closed = False
        self.says = False
        self._board = board
        self._boards = boards
        self._answers = asyncio.Event()
        self._answers.set()
        self._comeback: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def switch(self, on: bool) -> None:
        """What a request to switch does, and when it is answered. Raises Failed, NoAnswer."""
        await self._reach()
        if "slow" in self.faults:
            await asyncio.sleep(self._seconds("slow"))
        if "lies" in self.faults:
            self.says = on
        elif "sticks" in self.faults and not on:
            self.says = False
        elif "ignores" not in self.faults:
            await self._move(on)
        if "late" in self.faults:
            await asyncio.sleep(self._seconds("late"))

    async def read(self) -> bool:
        """What the outlet says it does. Raises Failed, NoAnswer."""
        await self._reach()
        return self.says

    def misbehave(self, fault: str, value: Value) -> None:
        """Have a fault from now on."""
        self.faults[fault] = value
        if fault == "hangs":
            self._answers.clear()

    def heal(self, fault: str) -> None:
        """Have it no longer; read-back tells the truth again."""
        self.faults.pop(fault, None)
        if fault == "hangs":
            self._answers.set()
        elif fault in ("lies", "sticks"):
            self.says = self.closed
        elif fault == "cycles":
            self._cancel_comeback()

    async def _reach(self) -> None:
        if "hangs" in self.faults:
            await self._answers.wait()
            raise NoAnswer
        if "errors" in self.faults:
            raise Failed

    async def _move(self, on: bool) -> None:
        self.closed = self.says = on
        self._cancel_comeback()
        if "cycles" in self.faults and not on:
            self._comeback = asyncio.get_running_loop().call_later(self._seconds("cycles"), self._come_back)
        for name in self._fed():
            await self._boards[name].supply(on)

    def _fed(self) -> tuple[str, ...]:
        if "miswired" in self.faults:
            return (str(self.faults["miswired"]),)
        if "shared" in self.faults:
            return (self._board, str(self.faults["shared"]))
        return (self._board,)

    def _come_back(self) -> None:
        task = asyncio.create_task(self._move(True))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel_comeback(self) -> None:
        if self._comeback is not None:
            self._comeback.cancel()
            self._comeback = None

    def _seconds(self, fault: str) -> float:
        return float(self.faults[fault] or 0)
