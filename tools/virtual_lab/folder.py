"""Where a lab keeps its files: one folder, and its ttys in /dev/shm, since an exporter takes only paths below /dev.

The lock lies beside the ttys. A lab that was killed with SIGKILL leaves both folders; the next one removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from powercut.clock import MonotonicClock, poll
from powercut.errors import UsageError

SHARED_MEMORY = Path("/dev/shm")
PREFIX = "powercut-vlab-"
MARKER = ".powercut-vlab"  # says whose the folder is: nothing else is ever removed
LOCK = "lock"
LONGEST_PATH = 70
SWEEPING_LIMIT_S = 1.0


def default_folder() -> Path:
    """The same place each time, so that `status` and `fault` find the lab that `up` started."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "powercut-vlab" if runtime else Path(f"/tmp/powercut-vlab-{os.getuid()}")


def ttys_of(folder: Path) -> Path:
    """Where the ttys of the lab in `folder` lie."""
    return SHARED_MEMORY / (PREFIX + hashlib.sha256(str(folder).encode()).hexdigest()[:12])


@contextmanager
def lab_folder(folder: Path) -> Iterator[tuple[Path, Path]]:
    """The lab's folder and that of its ttys, fresh; both are gone afterwards. Raises UsageError when it is in use."""
    if len(str(folder)) > LONGEST_PATH:
        raise UsageError(f"{folder} is too long a path for sockets", "--dir", "give a shorter one, such as /tmp/vlab")
    sweep()
    ttys = ttys_of(folder)
    claim = poll(lambda: _claim(ttys, make=True), MonotonicClock(), limit_s=SWEEPING_LIMIT_S)
    if claim is None:
        raise UsageError("a lab runs there already", str(folder), "`vlab down`, or give another --dir")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError("the folder is not empty", str(folder), "give one that is, or that does not exist")
        (folder / MARKER).write_text(ttys.name)
        (ttys / "dir").symlink_to(folder)
        yield folder, ttys
    finally:
        _remove(folder, ttys)
        shutil.rmtree(ttys, ignore_errors=True)
        claim.close()


def sweep() -> int:
    """Remove what labs left that no process holds any more; how many there were."""
    swept = 0
    for ttys in SHARED_MEMORY.glob(f"{PREFIX}*"):
        claim = _claim(ttys, make=False)
        if claim is not None:
            with contextlib.suppress(OSError):
                _remove((ttys / "dir").readlink(), ttys)
            shutil.rmtree(ttys, ignore_errors=True)
            claim.close()
            swept += 1
    return swept


def _claim(ttys: Path, *, make: bool) -> TextIO | None:
    """The lock on a lab's ttys, or None when somebody else has it, be it only to remove them."""
    with ExitStack() as opening, contextlib.suppress(OSError):
        if make:
            ttys.mkdir(exist_ok=True)
        lock = opening.enter_context((ttys / LOCK).open("a"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock.fileno()).st_ino == (ttys / LOCK).stat().st_ino:
            opening.pop_all()
            return lock
    return None


def _remove(folder: Path, ttys: Path) -> None:
    with contextlib.suppress(OSError):
        if (folder / MARKER).read_text() == ttys.name:
            shutil.rmtree(folder, ignore_errors=True)
