"""The scripts of the devices are read by the programs that will run them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

DEVICE = Path(__file__).parents[3] / "tools/images/device"
SCRIPTS = [
    file
    for file in sorted(DEVICE.rglob("*"))
    if file.is_file() and (file.suffix == ".sh" or file.read_bytes().startswith((b"#!/bin/sh", b"#!/bin/busybox sh")))
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.relative_to(DEVICE)))
def test_a_shell_reads_it(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True, timeout=10)


@pytest.mark.parametrize("config", sorted(DEVICE.rglob("*.cfg")), ids=lambda config: str(config.relative_to(DEVICE)))
def test_grub_reads_it(config: Path, tmp_path: Path) -> None:
    filled = tmp_path / "grub.cfg"
    filled.write_text(re.sub(r"@\w+@", "1", config.read_text()))
    subprocess.run(["grub-script-check", filled], check=True, timeout=10)


def test_there_are_scripts_to_be_read() -> None:
    assert len(SCRIPTS) > 10
