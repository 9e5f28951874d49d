"""A failure is replayed alone, from the log that it kept: the same disk, the same verdict."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, varied

EARLY = "echo 'OTA: d''one early'; sleep 5; ota-update {url}"
TEST = """
from powercut import at, atomic

def test_early(powercut):
    assert atomic(powercut.update("base", to="next", cut=at.console("OTA: done early")))
"""


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    line = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--lg-env",
        str(folder / "qemu-ostree.yaml"),
        *args,
    ]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


def record(out: Path) -> dict[str, Any]:
    (file,) = out.glob("*/record.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_a_kept_trial_is_drawn_booted_and_judged_again(tmp_path: Path) -> None:
    varied(ROOT / "env/qemu-ostree.yaml", tmp_path, {}, {"update": EARLY})
    (tmp_path / "test_early.py").write_text(TEST)

    first = run(tmp_path, "--powercut-out", "first", "test_early.py")
    assert first.returncode == 1, first.stdout
    (kept,) = (tmp_path / "first").iterdir()

    printed = next(line for line in first.stdout.splitlines() if line.startswith("this very state again:"))
    again = subprocess.run(
        [*shlex.split(printed.partition(":")[2]), "--powercut-out", "again", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert again.returncode == 1, again.stdout
    before, after = record(tmp_path / "first"), record(tmp_path / "again")
    assert after["verdicts"]["atomicity"] == before["verdicts"]["atomicity"]
    assert after["observation"]["cut"]["losses"] == before["observation"]["cut"]["losses"]

    by_hand = subprocess.run(
        [str(Path(sys.executable).parent / "powercut"), "boot", "--print", str(kept)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert by_hand.returncode == 0, by_hand.stderr
    overlay, boot = by_hand.stdout.splitlines()
    assert str(kept / "crash.qcow2") in overlay
    assert boot.startswith("qemu-system-x86_64 ")
