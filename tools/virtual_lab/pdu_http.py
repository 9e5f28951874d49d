"""An outlet's HTTP address: what labgrid's `simplerest` asks for, and what pdudaemon asks of a Tasmota plug.

GET /relay/INDEX/1, /relay/INDEX/0    switch
GET /relay/INDEX                      1 or 0
GET /cm?cmnd=Power1 on                {"POWER1": "ON"}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from urllib.parse import parse_qs, urlsplit

from .outlet import Failed, NoAnswer, Outlet
from .ports import HOST, Port

LONGEST_REQUEST_BYTES = 65536


class HTTPFront:
    """Serves one outlet on a port of its own, so that one outlet's faults are no other's."""

    def __init__(self, outlet: Outlet, port: Port) -> None:
        self.port = port
        self._outlet = outlet
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """As `NetworkPowerPort: {model: simplerest}` wants its host."""
        return f"http://{self.port.address}/relay/{{index}}/{{value}}"

    async def follow(self) -> None:
        """Listen, unless the outlet's faults say otherwise."""
        if "refuses" in self._outlet.faults:
            self.close()
        elif self._server is None:
            self._server = await asyncio.start_server(
                self._serve, HOST, self.port.number, limit=LONGEST_REQUEST_BYTES, reuse_address=True
            )

    def close(self) -> None:
        """Refuse connections."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, NoAnswer):
            head = await reader.readuntil(b"\r\n\r\n")
            status, body = await self._answer(head.split(b"\r\n")[0].decode("latin-1"))
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
            )
            await writer.drain()
        writer.close()

    async def _answer(self, request: str) -> tuple[str, str]:
        method, _, rest = request.partition(" ")
        url = urlsplit(rest.rpartition(" ")[0])
        tasmota = re.fullmatch(r"Power1 (on|off)", parse_qs(url.query).get("cmnd", [""])[0], re.I)
        relay = re.fullmatch(rf"/relay/{self._outlet.index}(?:/([01]))?/?", url.path)
        try:
            if method == "GET" and url.path == "/cm" and tasmota:
                state = tasmota[1].upper()
                await self._outlet.switch(state == "ON")
                return "200 OK", json.dumps({"POWER1": state})
            if method == "GET" and relay and relay[1]:
                await self._outlet.switch(relay[1] == "1")
                return "200 OK", relay[1]
            if method == "GET" and relay:
                return "200 OK", str(int(await self._outlet.read()))
        except Failed:
            return "500 Internal Server Error", json.dumps({"error": "the relay does not answer"})
        return "404 Not Found", "no such outlet"
