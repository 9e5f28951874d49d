"""The command line of the virtual lab."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from powercut.errors import PowercutError, UsageError
from powercut.model import LossModel

from .client import Lab
from .faults import ALL, FAULTS, LAB
from .folder import default_folder, lab_folder

Run = Callable[[argparse.Namespace], None]
IMAGE = Path(__file__).resolve().parent.parent.parent / "build/ostree/disk.img"


def main(args: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    chosen = _parser().parse_args(args)
    chosen.dir = chosen.dir.absolute()
    try:
        chosen.run(chosen)
    except PowercutError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vlab", description="A rack of virtual boards on loopback, run by the real labgrid, that can misbehave."
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    def verb(name: str, run: Run, about: str, **more: Any) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=about, description=about, **more)
        sub.add_argument("--dir", type=Path, default=default_folder(), help="the lab's folder (default: %(default)s)")
        sub.set_defaults(run=run)
        return sub

    up = verb("up", _up, "Bring a rack up and keep it until Ctrl-C.")
    up.add_argument("--boards", type=int, default=2, metavar="N", help="how many (default: %(default)s)")
    up.add_argument("--processors", type=int, default=1, metavar="N", help="of each board (default: %(default)s)")
    up.add_argument("--image", type=Path, default=IMAGE, metavar="IMG", help="their disk (default: the OSTree device)")
    up.add_argument("--loss", choices=[str(model) for model in LossModel], default="none", help="what a cut takes")
    up.add_argument("--seed", default="0", metavar="S", help="of losses, and of noise on the serial lines")
    up.add_argument("--on", action="store_true", help="switch all outlets on")
    status = verb("status", _status, "Say what runs.")
    status.add_argument("--json", action="store_true", help="all of it, as JSON")
    verb("down", lambda chosen: Lab(chosen.dir).down(), "Stop a rack.")
    listed = "\n".join(f"  {fault.name} {fault.value.value}".ljust(26) + fault.about for fault in FAULTS.values())
    fault = verb(
        "fault",
        lambda chosen: Lab(chosen.dir).fault(chosen.board, chosen.fault, chosen.value),
        "Let a board's lab misbehave.",
        epilog=f"faults:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fault.add_argument("board", metavar="BOARD", help=f"a board, {ALL!r}, or {LAB!r} for the lab's own faults")
    fault.add_argument("fault", metavar="FAULT")
    fault.add_argument("value", metavar="VALUE", nargs="?")
    heal = verb("heal", lambda chosen: Lab(chosen.dir).heal(chosen.board, chosen.fault), "Let it behave again.")
    heal.add_argument("board", metavar="BOARD", nargs="?", help=f"a board, {ALL!r} or {LAB!r} (default: everything)")
    heal.add_argument("fault", metavar="FAULT", nargs="?", help="default: all of them")
    snapshot = verb(
        "snapshot",
        lambda chosen: Lab(chosen.dir).snapshot(chosen.board, chosen.file),
        "Write a board's disk as it now is, as a qcow2 overlay over its image.",
    )
    snapshot.add_argument("board", metavar="BOARD")
    snapshot.add_argument("file", metavar="FILE", type=Path)
    reflash = verb(
        "reflash", lambda chosen: Lab(chosen.dir).reflash(chosen.board), "Put the image onto a board's disk again."
    )
    reflash.add_argument("board", metavar="BOARD")
    return parser


def _up(chosen: argparse.Namespace) -> None:
    if not 1 <= chosen.boards <= 64:
        raise UsageError(f"{chosen.boards} boards", "--boards", "1 to 64")
    if not 1 <= chosen.processors <= 8:
        raise UsageError(f"{chosen.processors} processors", "--processors", "1 to 8")
    os.environ["POWERCUT_VLAB"] = str(chosen.dir)  # by which every process of this lab can be found
    asyncio.run(_keep_up(chosen))


async def _keep_up(chosen: argparse.Namespace) -> None:
    from .control import Verb, serve
    from .rack import Options, Rack

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def down() -> None:
        stop.set()

    options = Options(chosen.boards, chosen.processors, chosen.image, LossModel(chosen.loss), chosen.seed, chosen.on)
    with lab_folder(chosen.dir) as (folder, ttys):
        lab = Rack(options, folder, ttys)
        try:
            opening, stopping = asyncio.create_task(lab.open()), asyncio.create_task(stop.wait())
            await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                opening.cancel()
                await asyncio.wait({opening})
                return
            await opening
            verbs: dict[str, Verb] = {
                "status": lab.status,
                "fault": lab.fault,
                "heal": lab.heal,
                "snapshot": lab.snapshot,
                "reflash": lab.reflash,
                "down": down,
            }
            server = await serve(folder, verbs)
            print(_welcome(await lab.status()), flush=True)
            await stopping
            server.close()
        finally:
            await lab.close()


def _status(chosen: argparse.Namespace) -> None:
    status = Lab(chosen.dir).status()
    print(json.dumps(status, indent=1) if chosen.json else _table(status))


def _welcome(status: dict[str, Any]) -> str:
    lines = [f"export LG_COORDINATOR={status['coordinator']}", f"export PATH={status['path']}:$PATH"]
    return "\n".join([*lines, _table(status), "ready"])


def _table(status: dict[str, Any]) -> str:
    lines = [f"pdudaemon {status['pdudaemon']}"]
    for name, program in status["programs"].items():
        lines += [] if program else [f"{name} does not run"]
    for name, board in status["boards"].items():
        lines.append(
            f"{name}: {board['state']}, outlet {board['index']}, http {board['http']}, snmp {board['snmp']}, "
            f"pdudaemon's pdu {board['pdu']} 1, ssh root@127.0.0.1:{board['ssh']}, {board['tty']}"
        )
        faults = [f"{fault} {value}" if value is not None else fault for fault, value in board["faults"].items()]
        lines += [f"  faults: {', '.join(faults)}"] if faults else []
    return "\n".join(lines)
