"""The lab's control socket: one JSON object a line, answered by one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from powercut.errors import PowercutError, UsageError

SOCKET = "control.sock"
Verb = Callable[..., Awaitable[Any]]


async def serve(folder: Path, verbs: dict[str, Verb]) -> asyncio.Server:
    """Answer `{"do": VERB, ...arguments}` with `{"answer": ...}` or `{"error": [what, where, to do]}`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                writer.write(json.dumps(await _answer(line, verbs)).encode() + b"\n")
                await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(handle, folder / SOCKET)


async def _answer(line: bytes, verbs: dict[str, Verb]) -> dict[str, Any]:
    try:
        question = json.loads(line)
        verb = verbs.get(question.pop("do"))
        if verb is None:
            raise UsageError(f"can't do {line!r}", "vlab", f"one of: {', '.join(verbs)}")
        return {"answer": await verb(**question)}
    except PowercutError as error:
        return {"error": error.args}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return {"error": [f"{type(error).__name__}: {error}", f"question {line!r}", "see tools/virtual_lab/control.py"]}
