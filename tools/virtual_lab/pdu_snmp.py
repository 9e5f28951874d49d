"""An outlet's SNMP address: a real snmpd that asks us, by its `pass_persist` protocol, for the outlet of an APC switch.

snmpd is one thread, so each outlet has its own: while one of them waits for us, no other waits with it. Over UDP an
agent that hangs and one that is not there are the same, so for both faults there is none. It could not be otherwise: a
client repeats its request, and an agent that only slept would switch when it wakes.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

from .outlet import Failed, NoAnswer, Outlet
from .ports import UDPPort
from .processes import DYING_ARGS, Program

OUTLET_CONTROL = ".1.3.6.1.4.1.318.1.1.4.4.2.1.3"
ON, OFF = "1", "2"
CLIENT_REPEATS_AFTER_S = 0.9
REPEATED_S = 0.3


class SNMPFront:
    """Serves one outlet through an agent of its own."""

    def __init__(self, outlet: Outlet, port: UDPPort, folder: Path, commands: Path) -> None:
        self.port = port
        self._outlet = outlet
        self._oid = f"{OUTLET_CONTROL}.{outlet.index}"
        self._socket = folder / "snmp.sock"
        config = folder / "snmpd.conf"
        # snmpd looks for it in no PATH
        tools = [shutil.which(DYING_ARGS[0]) or DYING_ARGS[0], *DYING_ARGS[1:], shutil.which("socat") or "socat"]
        relay = " ".join([*tools, "STDIO", f"UNIX-CONNECT:{self._socket}"])
        config.write_text(
            f"agentaddress udp:{port.address}\nrwcommunity private 127.0.0.1\npass_persist {OUTLET_CONTROL} {relay}\n"
        )
        modules = "pass_persist,vacm_conf"
        args = [str(commands / "snmpd"), "-f", "-C", "-c", str(config), "-Lo", "-I", modules]
        env = {"SNMP_PERSISTENT_DIR": str(folder / "snmp"), "MIBS": ""}  # where it writes a snmpd.conf of its own
        self.agent = Program("snmpd", args, folder, env)
        self._server: asyncio.Server | None = None
        self._late_answer: tuple[str, float] | None = None

    async def listen(self) -> None:
        """Take the agent's questions."""
        self._server = await asyncio.start_unix_server(self._serve, self._socket)

    async def follow(self) -> None:
        """Have an agent, unless the outlet's faults say otherwise."""
        if self._outlet.faults.keys() & {"refuses", "hangs"}:
            self.agent.kill()
        else:
            self.agent.start()
            await self.agent.until(lambda: self.port.answers)

    def close(self) -> None:
        """Leave nothing running."""
        self.agent.kill()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                if command := line.decode().strip():  # an empty line follows a set
                    writer.write((await self._answer(command, reader) + "\n").encode())
                    await writer.drain()
        writer.close()

    async def _answer(self, command: str, reader: asyncio.StreamReader) -> str:
        if command == "PING":
            return "PONG"
        oid = (await reader.readline()).decode().strip()
        try:
            if command == "set":
                value = (await reader.readline()).decode().split()[-1]
                if oid != self._oid or value not in (ON, OFF):
                    return "wrong-value"
                await self._switch(value)
                return "DONE"
            if command == "get" and oid == self._oid:
                return f"{oid}\ninteger\n{ON if await self._outlet.read() else OFF}"
        except (Failed, NoAnswer):
            return "not-writable" if command == "set" else "NONE"
        return "NONE"

    async def _switch(self, value: str) -> None:
        """Switch; what a client repeated because the answer was late is answered at once, or the repeats add up."""
        now, late = asyncio.get_running_loop().time, self._late_answer
        asked_s = now()
        repeated = late is not None and late[0] == value and asked_s - late[1] < REPEATED_S
        if not repeated:
            await self._outlet.switch(value == ON)
        was_late = repeated or now() - asked_s > CLIENT_REPEATS_AFTER_S
        self._late_answer = (value, now()) if was_late else None
