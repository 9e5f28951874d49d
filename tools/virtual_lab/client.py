"""For tests: a lab of one's own, and what can be asked of a running one."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from powercut.clock import MonotonicClock, poll
from powercut.errors import RigError, UsageError

from .control import SOCKET
from .folder import ttys_of

TOOL = Path(__file__).resolve().parent.parent / "vlab"
ANSWER_LIMIT_S = 90.0
START_LIMIT_S = 300.0  # the first start downloads the lab's programs
STOP_LIMIT_S = 30.0


class Lab:
    """The running lab of `folder`. Errors of the lab are raised here as they were there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def ask(self, do: str, **arguments: Any) -> Any:
        """One question to the control socket."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(ANSWER_LIMIT_S)
            try:
                channel.connect(str(self.folder / SOCKET))
            except OSError as fault:
                raise UsageError(
                    "no lab runs there", str(self.folder), "start one: tools/vlab up, or give its --dir"
                ) from fault
            with channel.makefile("rw") as lines:
                lines.write(json.dumps({"do": do, **arguments}) + "\n")
                lines.flush()
                line = lines.readline()
        if not line:
            raise RigError("the lab ended", str(self.folder), "see what it said")
        answer = json.loads(line)
        if "error" in answer:
            raise UsageError(*answer["error"])
        return answer["answer"]

    def status(self) -> dict[str, Any]:
        """Everything about the lab that can be asked for."""
        return dict(self.ask("status"))

    def board(self, board: str) -> dict[str, Any]:
        """The status of one board."""
        return dict(self.status()["boards"][board])

    def fault(self, board: str, fault: str, value: float | str | None = None) -> None:
        """Misbehave from now on; see `faults.FAULTS`. `board` may be "all", and is "lab" for the lab's own faults."""
        self.ask("fault", board=board, fault=fault, value=None if value is None else str(value))

    def heal(self, board: str | None = None, fault: str | None = None) -> None:
        """Behave again."""
        self.ask("heal", board=board, fault=fault)

    def snapshot(self, board: str, file: Path) -> None:
        """A qcow2 overlay of a board's disk as it now is."""
        self.ask("snapshot", board=board, file=str(file.resolve()))

    def reflash(self, board: str) -> None:
        """Put the image onto the disk of a board again; it has to be off."""
        self.ask("reflash", board=board)

    def down(self) -> None:
        """Stop the lab, and wait until nothing is left of it."""
        self.ask("down")
        if not poll(lambda: not ttys_of(self.folder).exists(), MonotonicClock(), limit_s=STOP_LIMIT_S):
            raise RigError(f"still there after {STOP_LIMIT_S:.0f} s", str(self.folder), "see its processes")

    @property
    def coordinator(self) -> str:
        """For LG_COORDINATOR and `--lg-coordinator`."""
        return str(self.status()["coordinator"])

    @property
    def path(self) -> str:
        """To be put in front of PATH where labgrid's `apc` model is used."""
        return str(self.status()["path"])


@contextmanager
def rack(
    boards: int = 1,
    *,
    image: Path | None = None,
    loss: str = "none",
    seed: str = "0",
    on: bool = False,
    processors: int = 1,
    folder: Path | None = None,
) -> Iterator[Lab]:
    """A lab for as long as the body runs."""
    place = folder if folder is not None else Path(tempfile.mkdtemp(prefix="vlab-"))
    line = [
        "setpriv",
        "--pdeathsig",
        "TERM",
        "--",
        sys.executable,
        str(TOOL),
        "up",
        "--boards",
        str(boards),
        "--processors",
        str(processors),
        "--dir",
        str(place),
        "--loss",
        loss,
    ]
    line += ["--seed", seed, *(["--image", str(image)] if image is not None else []), *(["--on"] if on else [])]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            poll(
                lambda: _ready(place) or process.poll() is not None,
                MonotonicClock(),
                limit_s=START_LIMIT_S,
                every_s=0.05,
            )
            if not _ready(place):
                said.seek(0)
                raise RigError(f"the virtual lab did not start: {said.read().strip()}", str(place), "see its message")
            yield Lab(place)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with suppress(OSError):  # a lab that did not start leaves it, empty
                place.rmdir()


def _ready(folder: Path) -> bool:
    try:
        Lab(folder).status()
    except (UsageError, RigError):
        return False
    return True
