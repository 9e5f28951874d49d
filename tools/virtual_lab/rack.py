"""The lab as a whole: boards, their outlets and serial ports, and the programs that lead to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from powercut.clock import MonotonicClock
from powercut.disk.blocks import open_blocks
from powercut.errors import RigError, UsageError
from powercut.lab import accel
from powercut.lab.diskstack import DiskStack, raw_image
from powercut.model import LossModel

from .board import CPU, MACHINE, QEMU_BINARY, Board, Losing, machine
from .faults import ALL, FAULTS, LAB, parse
from .labgrid_services import Exported, await_exported, coordinator, exporter
from .outlet import Outlet
from .packages import commands
from .pdu_http import HTTPFront
from .pdu_snmp import SNMPFront
from .pdudaemon import pdudaemon
from .ports import Port, free_udp_ports
from .processes import Program
from .uart import Uart

NAME = "vlab"
OUTLETS = 8  # as many as labgrid's `apc` model allows
MIND_EVERY_S = 0.2
NO_EXPORT = {"coordinator-killed", "exporter-killed"}


@dataclass(frozen=True)
class Options:
    """What `vlab up` was told. `processors`: of each board."""

    boards: int
    processors: int
    image: Path
    loss: LossModel
    seed: str
    on: bool


@dataclass(frozen=True)
class Place:
    """A board and all that leads to it."""

    board: Board
    outlet: Outlet
    http: HTTPFront
    snmp: SNMPFront
    exported: Exported

    def follow_faults(self) -> None:
        """Let the cable, the adapter and the capacitors be as the faults say."""
        faults, uart = self.outlet.faults, self.board.uart
        for line in uart.lines.values():
            line.noise = float(faults.get("noise") or 0)
            line.loses = float(faults.get("loses-bytes") or 0)
            line.pulled = "cable-pulled" in faults or "cable-loose" in faults
        if "adapter-unplugged" in faults:
            uart.unplug()
        else:
            uart.plug_in()
        self.board.capacitors_s = float(faults.get("capacitors") or 0) / 1000
        self.board.brown_out_s = float(faults.get("brown-out") or 0) / 1000


class Rack:
    """A running lab. `open` and `close` it; everything happens in the thread of the event loop."""

    def __init__(self, options: Options, folder: Path, ttys: Path) -> None:
        self.options = options
        self.folder = folder
        self.faults: set[str] = set()
        self.coordinator_port = Port()
        self._ttys = ttys
        self._pdudaemon_port = Port()
        self._held = ExitStack()
        self._places: dict[str, Place] = {}
        self._programs: dict[str, Program] = {}
        self._minding: asyncio.Task[None] | None = None
        self._loose: dict[str, asyncio.TimerHandle] = {}

    async def open(self) -> None:
        """Bring everything up."""
        tools = await asyncio.to_thread(commands, self.folder)
        base = await asyncio.to_thread(raw_image, self.options.image)
        accelerator = await asyncio.to_thread(accel.probe, QEMU_BINARY, MACHINE, CPU, MonotonicClock())
        boards: dict[str, Board] = {}
        udp_ports = free_udp_ports()
        for number in range(1, self.options.boards + 1):
            name = f"{NAME}-{number}"
            home = self.folder / name
            home.mkdir()
            boards[name] = self._board(name, home, base, accelerator)
            outlet = Outlet((number - 1) % OUTLETS + 1, name, boards)
            http = HTTPFront(outlet, Port())
            snmp = SNMPFront(outlet, next(udp_ports), home, tools)
            self._places[name] = Place(
                boards[name], outlet, http, snmp, self._exported(boards[name], outlet, http, snmp)
            )
        await self._start_programs(tools)
        if self.options.on:
            for place in self._places.values():
                await place.outlet.switch(True)
        self._minding = asyncio.create_task(self._mind())

    async def close(self) -> None:
        """Leave nothing running."""
        if self._minding is not None:
            self._minding.cancel()
        for program in self._programs.values():
            program.kill()
        for place in self._places.values():
            place.http.close()
            place.snmp.close()
        await asyncio.gather(*(place.board.close() for place in self._places.values()))
        self._held.close()

    # what the control socket offers

    async def status(self) -> dict[str, Any]:
        """Everything about the lab that can be asked for."""
        return {
            "pid": os.getpid(),
            "coordinator": self.coordinator_port.address,
            "pdudaemon": self._pdudaemon_port.address,
            "path": str(self.folder / "bin"),
            "folder": str(self.folder),
            "faults": sorted(self.faults),
            "programs": {name: program.pid for name, program in self._programs.items()},
            "boards": {name: _status(place) for name, place in self._places.items()},
        }

    async def fault(self, board: str, fault: str, value: str | None = None) -> None:
        """Misbehave from now on."""
        parsed = parse(fault, value, self._places)
        if FAULTS[fault].of_lab:
            if board != LAB:
                raise UsageError(f"{fault} is no fault of one board", "vlab fault", f"write: fault {LAB} {fault}")
            await self._break(fault)
            return
        for place in self._chosen(board):
            if fault == "ser2net-killed":
                _signal_ser2net(place.board.uart.path, signal.SIGKILL)
                continue
            if fault == "ser2net-stopped":
                _signal_ser2net(place.board.uart.path, signal.SIGSTOP)
            place.outlet.misbehave(fault, parsed)
            await _follow(place)
            if fault == "cable-loose":
                put_back = asyncio.get_running_loop().call_later(float(parsed or 0), self._put_back, place)
                self._loose[place.board.name] = put_back

    async def heal(self, board: str | None = None, fault: str | None = None) -> None:
        """Behave again: as to one fault or all, of one board, of the lab itself, or of everything."""
        if fault is not None and fault not in FAULTS:
            raise UsageError(f"no fault {fault!r}", "vlab heal", f"one of: {', '.join(FAULTS)}")
        if board in (None, LAB):
            await self._mend({fault} if fault is not None else set(self.faults))
        if board != LAB:
            for place in self._chosen(board or ALL):
                for name in [fault] if fault is not None else list(place.outlet.faults):
                    if name == "ser2net-stopped" and name in place.outlet.faults:
                        with contextlib.suppress(UsageError):  # its place was given back, and it ended
                            _signal_ser2net(place.board.uart.path, signal.SIGCONT)
                    if name == "cable-loose" and place.board.name in self._loose:
                        self._loose.pop(place.board.name).cancel()
                    place.outlet.heal(name)
                await _follow(place)

    async def snapshot(self, board: str, file: str) -> None:
        """Write a board's disk as it now is."""
        (place,) = self._chosen(board)
        try:
            await place.board.snapshot(Path(file))
        except OSError as error:
            raise UsageError(f"can't write it: {error}", file, "give another file") from error

    async def reflash(self, board: str) -> None:
        """Put the image onto the disk of a board again."""
        (place,) = self._chosen(board)
        await place.board.reflash()

    # our own

    def _board(self, name: str, home: Path, base: Path, accelerator: str) -> Board:
        ssh = Port()
        uart = Uart(self._ttys / name, f"{self.options.seed}:{name}")
        stack = DiskStack(0, base, self._held.enter_context(open_blocks(base)), "virtio-blk-pci", True, home)
        losing = Losing(self.options.loss, self.options.seed)
        return Board(name, machine(accelerator, ssh, self.options.processors), stack, uart, ssh, losing, home)

    def _exported(self, board: Board, outlet: Outlet, http: HTTPFront, snmp: SNMPFront) -> Exported:
        return Exported(
            place=board.name,
            tty=board.uart.path,
            index=outlet.index,
            http=http.url,
            snmp=snmp.port.address,
            pdudaemon=self._pdudaemon_port.address,
            pdu=http.port.address,
            ssh_port=board.ssh.number,
        )

    async def _start_programs(self, tools: Path) -> None:
        exported = [place.exported for place in self._places.values()]
        path = os.environ.get("PATH", os.defpath)
        port = self.coordinator_port
        self._programs = {
            "coordinator": coordinator(port, self.folder, NAME, exported, {"board": "virtual", "rack": NAME}),
            "exporter": exporter(port, self.folder, NAME, exported, tools, path),
            "pdudaemon": pdudaemon(
                (place.http for place in self._places.values()), self._pdudaemon_port, self.folder, tools
            ),
        }
        self._programs["coordinator"].start()
        self._programs["pdudaemon"].start()
        for place in self._places.values():
            await place.snmp.listen()
            await _follow(place)
        await self._start_exporting()
        await self._programs["pdudaemon"].until(lambda: self._pdudaemon_port.answers)

    async def _start_exporting(self) -> None:
        self._programs["coordinator"].start()
        await self._programs["coordinator"].until(lambda: self.coordinator_port.answers)
        self._programs["exporter"].start()
        await await_exported(
            self.coordinator_port, sum(len(place.exported.resources) for place in self._places.values())
        )

    async def _mind(self) -> None:
        """Start what has ended by itself, as an init would; an exporter ends when its coordinator does."""
        while True:
            await asyncio.sleep(MIND_EVERY_S)
            if not self.faults & NO_EXPORT and not self._programs["exporter"].running:
                with contextlib.suppress(RigError):
                    await self._start_exporting()

    def _put_back(self, place: Place) -> None:
        self._loose.pop(place.board.name, None)
        place.outlet.heal("cable-loose")
        place.follow_faults()

    async def _break(self, fault: str) -> None:
        self.faults.add(fault)
        program, _, how = fault.rpartition("-")
        if how == "stopped":
            self._programs[program].hold_up()
        else:
            self._programs[program].kill()

    async def _mend(self, faults: set[str]) -> None:
        mended = self.faults & faults
        if "coordinator-killed" in mended:
            self._programs["exporter"].kill()  # it may not have noticed yet
        if "pdudaemon-killed" in mended:
            self._programs["pdudaemon"].start()
            await self._programs["pdudaemon"].until(lambda: self._pdudaemon_port.answers)
        for fault in mended:
            if fault.endswith("-stopped"):
                self._programs[fault.removesuffix("-stopped")].go_on()
        self.faults -= mended
        if mended & NO_EXPORT and not self.faults & NO_EXPORT:
            await self._start_exporting()

    def _chosen(self, board: str) -> list[Place]:
        if board == ALL:
            return list(self._places.values())
        if board not in self._places:
            raise UsageError(f"no board {board!r}", "vlab", f"one of: {', '.join(self._places)}")
        return [self._places[board]]


def _status(place: Place) -> dict[str, Any]:
    board, outlet = place.board, place.outlet
    return {
        "state": board.state,
        "halted": board.halted,
        "pid": board.pid,
        "outlet": outlet.closed,
        "says": outlet.says,
        "power_ons": board.power_ons,
        "cuts": board.cuts,
        "resets": board.resets,
        "loss": asdict(board.loss) if board.loss is not None else None,
        "faults": dict(outlet.faults),
        "said_bytes": board.uart.said_bytes,
        "tty": str(board.uart.path),
        "http": place.exported.http,
        "snmp": place.exported.snmp,
        "pdu": place.exported.pdu,
        "index": outlet.index,
        "ssh": board.ssh.number,
    }


async def _follow(place: Place) -> None:
    place.follow_faults()
    await place.http.follow()
    await place.snmp.follow()


def _signal_ser2net(tty: Path, number: int) -> None:
    serving = list(_processes_with(f",{tty},"))
    if not serving:
        raise UsageError("no ser2net runs for it", str(tty), "acquire the place first: the exporter starts it then")
    for pid in serving:
        os.kill(pid, number)


def _processes_with(text: str) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and text.encode() in (entry / "cmdline").read_bytes():
                yield int(entry.name)
