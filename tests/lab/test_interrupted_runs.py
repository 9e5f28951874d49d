"""Whatever ends a run, no QEMU stays behind, and the next run cleans up and works."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.conftest import ROOT

from powercut.clock import MonotonicClock, poll
from powercut.lab.rundir import PREFIX, sweep

TEST = """
from powercut import at

def test_long(powercut):
    powercut.update("base", to="next", cut=at.elapsed(300))
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A run in the middle of a trial, and the process id of its QEMU."""
    (tmp_path / "test_long.py").write_text(TEST)
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_long.py"]
    line += ["--lg-env", str(ROOT / "env/qemu-ostree.yaml"), "--powercut-out", str(tmp_path / "out")]
    with subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        qemu = poll(lambda: qemu_of(run.pid), MonotonicClock(), limit_s=60)
        assert qemu is not None
        yield run, qemu
        run.kill()


def qemu_of(parent: int) -> int | None:
    """Its QEMU that has a run folder: another one finds out first which accelerator there is."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return next((int(child) for child in children if PREFIX.encode() in command_line(int(child))), None)


def command_line(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def run_folder_of(qemu: int) -> Path:
    name = re.search(rf"{PREFIX}\w+".encode(), command_line(qemu))
    assert name is not None
    return Path(tempfile.gettempdir()) / name[0].decode()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_no_process_stays_and_the_next_run_sweeps(
    running: tuple[subprocess.Popen[str], int], how: signal.Signals
) -> None:
    run, qemu = running
    folder = run_folder_of(qemu)
    assert folder.is_dir()
    run.send_signal(how)
    run.wait(150)

    assert poll(lambda: b"qemu" not in command_line(qemu), MonotonicClock(), limit_s=10)
    sweep()
    assert not folder.exists()
