"""A failure is replayed alone, from the log that it kept: the same disk, the same verdict."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
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


@pytest.fixture(scope="module")
def violated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a violated trial in `first`, and what pytest printed of it."""
    folder = tmp_path_factory.mktemp("violated")
    varied(ROOT / "env/qemu-ostree.yaml", folder, {}, {"update": EARLY})
    (folder / "test_early.py").write_text(TEST)
    first = run(folder, "--powercut-out", "first", "test_early.py")
    assert first.returncode == 1, first.stdout
    return folder, first.stdout


def test_a_kept_trial_is_drawn_booted_and_judged_again(violated: tuple[Path, str]) -> None:
    folder, said = violated
    (kept,) = (folder / "first").iterdir()
    printed = next(line for line in said.splitlines() if line.startswith("this very state again:"))
    again = subprocess.run(
        [*shlex.split(printed.partition(":")[2]), "--powercut-out", "again", "-p", "no:cacheprovider"],
        cwd=folder, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert again.returncode == 1, again.stdout
    before, after = record(folder / "first"), record(folder / "again")
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


def test_a_test_that_asks_for_another_cut_by_now_is_no_replay(violated: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = violated
    (kept,) = (folder / "first").iterdir()
    changed = tmp_path / "test_early.py"
    changed.write_text(TEST.replace('"OTA: done early")', '"OTA: done early"), then="boot"'))
    again = run(folder, "--powercut-replay", str(kept), "--powercut-out", str(tmp_path / "again"), str(changed))
    assert again.returncode == 4, again.stdout + again.stderr
    assert "the recorded cut was not asked for" in again.stdout + again.stderr
