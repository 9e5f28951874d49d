"""labgrid's own coordinator and exporter, and what they are told about the boards.

The places are written down where the coordinator keeps them, so that they are there from its first second on and
survive one that is killed: it would save a place that it is told about after up to 15 seconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from labgrid.remote.generated.labgrid_coordinator_pb2 import ClientInMessage
from labgrid.remote.generated.labgrid_coordinator_pb2_grpc import CoordinatorStub

from powercut.errors import RigError

from .ports import HOST, Port
from .processes import START_LIMIT_S, Program

SPEED = 115200
# a channel of an earlier coordinator at the same address has to wait longer and longer
FRESH = (("grpc.use_local_subchannel_pool", 1),)


@dataclass(frozen=True)
class Exported:
    """What the exporter tells of one board."""

    place: str
    tty: Path
    index: int
    http: str
    snmp: str
    pdudaemon: str
    pdu: str
    ssh_port: int

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """By the name under which a place has it."""
        return {
            "serial": {"cls": "RawSerialPort", "port": str(self.tty), "speed": SPEED},
            "http": {"cls": "NetworkPowerPort", "model": "simplerest", "host": self.http, "index": self.index},
            "snmp": {"cls": "NetworkPowerPort", "model": "apc", "host": self.snmp, "index": self.index},
            "pdudaemon": {"cls": "PDUDaemonPort", "host": self.pdudaemon, "pdu": self.pdu, "index": 1},
            "ssh": {"cls": "NetworkService", "address": HOST, "port": self.ssh_port, "username": "root"},
        }


def coordinator(port: Port, folder: Path, rack: str, boards: Iterable[Exported], tags: Mapping[str, str]) -> Program:
    """A program to start, which knows a place for each board."""
    places = {board.place: _place(board, rack, tags) for board in boards}
    home = folder / "coordinator"
    home.mkdir()
    (home / "places.yaml").write_text(json.dumps(places, indent=1))
    args = [sys.executable, "-m", "labgrid.remote.coordinator", "--listen", port.address]
    return Program("coordinator", args, home, {"PYTHONUNBUFFERED": "1"})


def exporter(port: Port, folder: Path, rack: str, boards: Iterable[Exported], commands: Path, path: str) -> Program:
    """A program to start; it finds ser2net among `commands`."""
    config = folder / "exporter.yaml"
    config.write_text(json.dumps({board.place: board.resources for board in boards}, indent=1))
    args = [sys.executable, "-m", "labgrid.remote.exporter", "--coordinator", port.address]
    args += ["--name", rack, "--hostname", HOST, str(config)]
    return Program("exporter", args, folder, {"PATH": f"{commands}:{path}", "PYTHONUNBUFFERED": "1"})


async def await_exported(port: Port, count: int) -> None:
    """Wait until the coordinator has `count` resources; raises RigError."""
    seen: set[tuple[str, str]] = set()
    try:
        await asyncio.wait_for(_count(port, count, seen), START_LIMIT_S)
    except (asyncio.TimeoutError, grpc.aio.AioRpcError) as fault:
        raise RigError(
            f"{len(seen)} of {count} resources exported: {fault!r}", "exporter", "see exporter.log"
        ) from fault


async def _count(port: Port, count: int, seen: set[tuple[str, str]]) -> None:
    async def questions() -> AsyncIterator[ClientInMessage]:
        start = ClientInMessage()
        start.startup.version, start.startup.name = "vlab", "vlab"
        yield start
        subscribe = ClientInMessage()
        subscribe.subscribe.all_resources = True
        yield subscribe
        await asyncio.Event().wait()

    async with grpc.aio.insecure_channel(port.address, FRESH) as channel:
        async for message in CoordinatorStub(channel).ClientStream(questions(), wait_for_ready=True):
            for update in message.updates:
                if update.WhichOneof("kind") == "resource":
                    seen.add((update.resource.path.group_name, update.resource.path.resource_name))
            if len(seen) >= count:
                return


def _place(board: Exported, rack: str, tags: Mapping[str, str]) -> dict[str, Any]:
    classes = {"RawSerialPort": "NetworkSerialPort"}
    matches = [
        {
            "exporter": rack,
            "group": board.place,
            "cls": classes.get(resource["cls"], resource["cls"]),
            "name": name,
            "rename": name,
        }
        for name, resource in board.resources.items()
    ]
    return {"aliases": [], "comment": "a virtual board", "tags": dict(tags), "matches": matches}
