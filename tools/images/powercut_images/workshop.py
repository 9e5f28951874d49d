"""Where one artefact is made: a temporary directory, a log of every tool's output, a line per step on the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import BuildError

# Every time stamp of an image is this one, so that equal inputs give equal bytes wherever the tools allow it.
EPOCH_S = 1_700_000_000

_LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class Workshop:
    """A directory to build in; what is in it when the recipe returns is the artefact."""

    name: str
    dir: Path

    @property
    def log(self) -> Path:
        return self.dir / "log"

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Prints what is being done, and how long it took."""
        started_s = time.monotonic()
        with self.log.open("a") as log:
            log.write(f"== {what}\n")
        # Without a terminal (a log file, CI) a line is only written once it is complete.
        if sys.stderr.isatty():
            print(f"  {self.name}: {what} ...", end="\r", file=sys.stderr, flush=True)
        yield
        print(f"  {self.name}: {what} ({time.monotonic() - started_s:.1f} s)   ", file=sys.stderr, flush=True)

    def run(
        self,
        *argv: str | Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        ok: Sequence[int] = (0,),
    ) -> str:
        """Runs a tool to its end and returns what it wrote to stdout; stderr goes to the log."""
        words = [str(word) for word in argv]
        full_env = {"PATH": _PATH, "LC_ALL": "C.UTF-8", "HOME": str(self.dir), "SOURCE_DATE_EPOCH": str(EPOCH_S)}
        full_env |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        full_env |= dict(env or {})
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(words)}\n".encode())
            log.flush()
            done = subprocess.run(
                (*_ENDS_WITH_US, *words),
                env=full_env,
                cwd=cwd or self.dir,
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=log,
                check=False,
                close_fds=False,  # the store's lock is passed on; Python's own descriptors never are
            )
            log.write(done.stdout[-20_000:] if len(done.stdout) < 1_000_000 else b"(binary output)\n")
        if done.returncode not in ok:
            raise BuildError(
                f"image {self.name}",
                f"{words[0]} ended with status {done.returncode}\n{self.tail()}",
                "see the lines above; when it's the network or the disk, mend it and start the same command again",
            )
        return done.stdout.decode(errors="replace")

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"  | {line}" for line in lines[-_LOG_TAIL_LINES:])


# However a build ends, mmdebstrap must not go on without it, and gets to unmount what it mounted.
_ENDS_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TMPDIR")
