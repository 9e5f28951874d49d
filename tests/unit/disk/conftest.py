"""Real logs: written by QEMU's own blklogwrites, driven by qemu-io."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

DISK_BYTES = 1 << 20

Recorder = Callable[..., Path]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(DISK_BYTES))
    return path


@pytest.fixture
def record(tmp_path: Path, disk: Path) -> Recorder:
    """Runs qemu-io commands on `disk` and gives the log of what reached it."""

    def run(*commands: str, name: str = "disk.log", killed: bool = True) -> Path:
        log = tmp_path / name
        log.touch()
        options = (
            f"driver=blklogwrites,discard=unmap,file.driver=file,file.filename={disk},file.discard=unmap,"
            f"log.driver=file,log.filename={log}"
        )
        # qemu-io flushes when it ends by itself; a killed one doesn't, which is what a cut looks like.
        script = [*commands, "sigraise 9"] if killed else commands
        arguments = [argument for command in script for argument in ("-c", command)]
        subprocess.run(
            ["qemu-io", "-t", "writeback", "--image-opts", options, *arguments],
            check=not killed,
            stdout=subprocess.DEVNULL,
            timeout=30,
        )
        return log

    return run
