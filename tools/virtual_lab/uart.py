"""A board's serial adapter: a tty that outlives the board's power cycles, with the lab between it and QEMU.

Nobody holds the tty's own end open here, so the lab sees whether somebody listens: what comes while nobody does is
lost, as on a closed port. A listener that does not keep up loses bytes too, late enough not to matter, and never holds
up the board.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import termios
import tty
from collections.abc import Callable
from pathlib import Path
from random import Random

LISTENER_CHECK_S = 0.02
UNREAD_BYTES = 1 << 20
CHUNK_BYTES = 4096


class Line:
    """One direction of the cable, and what it does to bytes."""

    def __init__(self, seed: str) -> None:
        self._rng = Random(seed)
        self.noise = 0.0
        self.loses = 0.0
        self.pulled = False

    def carry(self, data: bytes) -> bytes:
        """What arrives of `data`."""
        if self.pulled:
            return b""
        if self.loses:
            data = bytes(byte for byte in data if self._rng.random() >= self.loses)
        if self.noise:
            data = bytes(
                byte ^ (1 << self._rng.randrange(8)) if self._rng.random() < self.noise else byte for byte in data
            )
        return data


class Uart:
    """The tty at `path` and the console socket of whatever QEMU runs now. Used in the event loop's thread only.

    `said_bytes`: what the QEMU that runs now, or ran last, has written to its serial port.
    """

    def __init__(self, path: Path, seed: str) -> None:
        self.path = path
        self.lines = {"out": Line(f"{seed}:out"), "in": Line(f"{seed}:in")}
        self.said_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._master: int | None = None
        self._check: asyncio.TimerHandle | None = None
        self._unread = bytearray()
        self._console: socket.socket | None = None
        self._ended: Callable[[], None] | None = None
        self.plug_in()

    def plug_in(self) -> None:
        """A tty, at the same path as ever."""
        if self._master is not None:
            return
        self._master, terminal = os.openpty()
        tty.setraw(terminal)
        self.path.symlink_to(os.ttyname(terminal))
        os.close(terminal)
        os.set_blocking(self._master, False)
        self._await_listener()

    def unplug(self) -> None:
        """The tty goes away under whoever has it open."""
        master, self._master = self._master, None
        if master is None:
            return
        self.path.unlink(missing_ok=True)
        if self._check is not None:
            self._check.cancel()
        self._loop.remove_reader(master)
        self._loop.remove_writer(master)
        self._unread.clear()
        os.close(master)

    def attach(self, console: socket.socket, ended: Callable[[], None]) -> None:
        """Carry the bytes of `console`; `ended` is called when it has given its last one."""
        self._console, self._ended, self.said_bytes = console, ended, 0
        self._loop.add_reader(console.fileno(), self._from_board)

    def detach(self) -> None:
        """Forget the console socket; what it still holds is lost."""
        console, self._console = self._console, None
        if console is not None:
            self._loop.remove_reader(console.fileno())

    def _from_board(self) -> None:
        assert self._console is not None
        try:
            data = self._console.recv(CHUNK_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.detach()
            assert self._ended is not None
            self._ended()
            return
        self.said_bytes += len(data)
        self._unread += self.lines["out"].carry(data)
        self._to_listener()

    def _to_listener(self) -> None:
        if self._master is None:
            self._unread.clear()
            return
        if not self._listened:
            self._unread.clear()
        with contextlib.suppress(BlockingIOError, OSError):
            while self._unread:
                del self._unread[: os.write(self._master, self._unread)]
        del self._unread[:-UNREAD_BYTES]
        if self._unread:
            self._loop.add_writer(self._master, self._to_listener)
        else:
            self._loop.remove_writer(self._master)

    def _from_listener(self) -> None:
        assert self._master is not None
        try:
            data = os.read(self._master, CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # the last listener closed the tty; a poll would return at once until there is another
            self._loop.remove_reader(self._master)
            self._loop.remove_writer(self._master)
            termios.tcflush(self._master, termios.TCOFLUSH)
            self._await_listener()
            return
        data = self.lines["in"].carry(data)
        if self._console is not None and data:
            with contextlib.suppress(OSError):
                self._console.send(data, socket.MSG_DONTWAIT)

    def _await_listener(self) -> None:
        assert self._master is not None
        if self._listened:
            self._loop.add_reader(self._master, self._from_listener)
        else:
            self._check = self._loop.call_later(LISTENER_CHECK_S, self._await_listener)

    @property
    def _listened(self) -> bool:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)  # type: ignore[arg-type]
        return not any(event & select.POLLHUP for _, event in poll.poll(0))
