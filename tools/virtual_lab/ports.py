"""Ports of 127.0.0.1 that stay ours while nobody listens on them: a server that was killed comes back on its own port.

A socket that is bound with SO_REUSEADDR and does not listen lets a server with SO_REUSEADDR bind beside it, refuses
connections meanwhile, and keeps everybody else away.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

HOST = "127.0.0.1"
_LOWEST, _HIGHEST = 20_000, 32_000


class Port:
    """A TCP port, held for as long as this object lives."""

    def __init__(self) -> None:
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind((HOST, 0))
        self.number: int = self._holder.getsockname()[1]

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{HOST}:{self.number}"

    @property
    def answers(self) -> bool:
        """Whether somebody listens."""
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.number)) == 0


class UDPPort:
    """A UDP port; nothing holds it, so it lies outside the range that the kernel hands out by itself."""

    def __init__(self, number: int) -> None:
        self.number = number

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{HOST}:{self.number}"

    @property
    def answers(self) -> bool:
        """Whether somebody has bound it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((HOST, self.number))
            except OSError:
                return True
        return False


def free_udp_ports() -> Iterator[UDPPort]:
    """UDP ports that are free now; labs that start at the same time begin at different ones."""
    first = _LOWEST + os.getpid() * 16 % (_HIGHEST - _LOWEST)
    for number in (*range(first, _HIGHEST), *range(_LOWEST, first)):
        port = UDPPort(number)
        if not port.answers:
            yield port
