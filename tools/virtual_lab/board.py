"""A QEMU board with a recorded disk: gets power and loses it, resets itself, and forgets what its disk had not kept.

All that takes time happens in the board's own thread, in the order in which it was asked for. The thread lives as long
as the lab, because QEMU dies with the thread that started it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from powercut.clock import MonotonicClock
from powercut.disk.blocks import Blocks
from powercut.disk.qcow2 import write_overlay
from powercut.errors import PowercutError, UsageError
from powercut.lab.commandline import Machine, Sockets, command
from powercut.lab.diskstack import DiskStack
from powercut.lab.process import QEMU
from powercut.model import Loss, LossModel
from powercut.rig import replayed

from .ports import HOST, Port
from .uart import Uart

QEMU_BINARY = "qemu-system-x86_64"
MACHINE = "q35,hpet=off,vmport=off,usb=off,sata=off"
CPU = "qemu64"
RESETS_AT_MOST = 100
LAST_BYTES_LIMIT_S = 2.0


@dataclass(frozen=True)
class Losing:
    """What a loss of power takes from the disk, and the seed of its draws."""

    model: LossModel
    seed: str


class Board:
    """One board. `supply` is for the event loop's thread."""

    def __init__(
        self, name: str, machine: Machine, stack: DiskStack, uart: Uart, ssh: Port, losing: Losing, folder: Path
    ) -> None:
        self.name = name
        self.uart = uart
        self.ssh = ssh
        self.powered = False
        self.capacitors_s = 0.0
        self.brown_out_s = 0.0
        self.power_ons = 0
        self.resets = 0
        self.cuts = 0
        self.loss: Loss | None = None
        self.halted: str | None = None
        self._machine = machine
        self._stack = stack
        self._losing = losing
        self._folder = folder
        self._clock = MonotonicClock()
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._running_out: asyncio.TimerHandle | None = None
        self._qemu: QEMU | None = None
        self._off_s = float("-inf")
        self._browned_out = False
        self._silent = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """QEMU's process id while it runs."""
        qemu = self._qemu
        return qemu.pid if qemu is not None and qemu.running else None

    @property
    def state(self) -> str:
        """off, running, or halted: with power, but QEMU has ended (`halted` says why)."""
        if not self.powered:
            return "off"
        return "running" if self.halted is None else "halted"

    async def supply(self, on: bool) -> None:
        """Power at the board's input from now on; returns when it runs, or is dead unless its capacitors hold."""
        if self._running_out is not None:
            if on:  # it was away too briefly to be noticed
                self._running_out.cancel()
                self._running_out = None
            return
        if on == self.powered:
            return
        if self._browned_out:
            self._browned_out = self.powered = False  # without ever having run
            self._off_s = self._clock.now()
        elif on and self._clock.now() - self._off_s < self.brown_out_s:
            self._browned_out = self.powered = True
            self.halted = "it browned out: power was back before its capacitors were empty"
        elif on:
            await asyncio.wrap_future(self._power_on())
        elif self.capacitors_s:
            self._running_out = self._loop.call_later(self.capacitors_s, self._power_off)
        else:
            await asyncio.wrap_future(self._power_off())

    async def snapshot(self, target: Path) -> None:
        """Write the disk as it now is to `target`, thin over the image."""
        with TemporaryDirectory(dir=self._folder) as links:
            before, logs = await asyncio.wrap_future(self._thread.submit(self._disk, Path(links)))
            await asyncio.to_thread(lambda: write_overlay(target, replayed(before, logs), self._stack.base))

    async def reflash(self) -> None:
        """Put the image onto the disk again, as it was at first. Raises UsageError while the board has power."""
        if self.powered:
            raise UsageError(f"{self.name} has power", "reflash", "switch its outlet off first")
        await asyncio.wrap_future(self._thread.submit(self._reflash))

    async def close(self) -> None:
        """Leave nothing running."""
        self.powered = False
        self._thread.submit(self._kill)
        await asyncio.to_thread(self._thread.shutdown)
        self.uart.detach()
        self.uart.unplug()
        if self._qemu is not None:
            self._qemu.close()

    def _power_on(self) -> Future[None]:
        self.powered = True
        self.halted = None
        self.resets = 0
        self.power_ons += 1
        return self._thread.submit(self._told, self._start)

    def _power_off(self) -> Future[None]:
        self._running_out = None
        self.powered = False
        self._off_s = self._clock.now()
        self.cuts += 1
        killed = self._thread.submit(self._kill)
        self._thread.submit(self._told, self._lose, self.cuts)
        return killed

    # in the board's thread

    def _told(self, work: Callable[..., None], *args: object) -> None:
        try:
            work(*args)
        except PowercutError as fault:
            self.halted = str(fault)

    def _start(self) -> None:
        console, monitor = self._folder / "console.sock", self._folder / "monitor.sock"
        for path in (console, monitor):
            path.unlink(missing_ok=True)
        sockets = Sockets(console, monitor, origin=self._folder)  # no origin: the network is `machine`'s
        args = command(self._machine, [self._stack.drive()], sockets)
        self._qemu = qemu = QEMU(args, console, monitor, self._folder / "qemu.log", self._clock)
        self._silent = asyncio.Event()
        self._loop.call_soon_threadsafe(self.uart.attach, qemu.console, self._ended(qemu, self._silent))
        qemu.ask("cont")

    def _ended(self, qemu: QEMU, silent: asyncio.Event) -> Callable[[], None]:
        def ended() -> None:
            silent.set()
            if self.powered:
                self._thread.submit(self._told, self._follow, qemu)

        return ended

    def _kill(self) -> None:
        if self._qemu is not None:
            self._qemu.kill()

    def _lose(self, cut: int) -> None:
        self._put_away()
        spent = list(self._stack.logs)
        seed = f"{self._losing.seed}:{self.name}:{cut}"
        self.loss = self._stack.lose(self._losing.model, Random(seed), seed)
        for log in spent:
            log.unlink(missing_ok=True)

    def _reflash(self) -> None:
        self._put_away()
        self._stack.reset()

    def _follow(self, qemu: QEMU) -> None:
        """A guest's reset goes on in a fresh process; anything else that ended QEMU leaves the board without life."""
        if self._qemu is not qemu or not self.powered:
            return
        ended = qemu.ended_by_guest()
        said = qemu.said
        self._put_away()
        if ended == "guest-reset" and self.resets < RESETS_AT_MOST:
            self.resets += 1
            self._start()
        else:
            self.halted = ended or f"QEMU ended by itself: {said}"

    def _put_away(self) -> None:
        qemu, self._qemu = self._qemu, None
        if qemu is None:
            return
        last = asyncio.run_coroutine_threadsafe(asyncio.wait_for(self._silent.wait(), LAST_BYTES_LIMIT_S), self._loop)
        with suppress(TimeoutError, asyncio.TimeoutError):
            last.result()
        qemu.close()

    def _disk(self, links: Path) -> tuple[Blocks, tuple[Path, ...]]:
        linked = []
        for log in self._stack.logs:
            os.link(log, links / log.name)  # a cut meanwhile removes the log itself
            linked.append(links / log.name)
        return self._stack.before, tuple(linked)


def machine(accel: str, ssh: Port, processors: int) -> Machine:
    """The reference board, with a network that reaches the servers on the host's loopback at 10.0.2.2."""
    if processors > 1:
        accel = accel.replace("thread=single", "thread=multi")  # each on a core of its own
    network = f"-netdev user,id=net0,hostfwd=tcp:{HOST}:{ssh.number}-:22 -device virtio-net-pci,netdev=net0,romfile="
    return Machine(
        binary=QEMU_BINARY,
        machine=MACHINE,
        cpu=CPU,
        memory="512M",
        accel=accel,
        extra_args=f"-smp {processors} {network}",
        network=False,
    )
