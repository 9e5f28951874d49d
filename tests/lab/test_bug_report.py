"""A violation on its way to a bug report: replayed from anywhere, shrunk, exported, and booted without powercut."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import ROOT, rig_of, varied

from powercut.clock import MonotonicClock, poll
from powercut.integrity.protocol import Judge
from powercut.invariants import atomicity_at_rest
from powercut.model import Cut, LossModel, Observation, Outcome, Promises
from powercut.rehearsal import Rehearsal, Stimulus, rehearse
from powercut.rig import Rig
from powercut.trial import Plan, drawn, recording_of
from powercut.triggers import at

pytestmark = pytest.mark.system
DISK = f"{ROOT}/build/ostree-env-noflush/disk.img"
CUT = at.phase("after.confirmed")
TEST = """
from powercut import at, atomic

def test_confirmed(powercut):
    assert atomic(powercut.update("base", to="next", cut=at.phase("after.confirmed"), then="boot"))
"""
LIMIT_S = 900
# what the boot loader of the image says; its kernel is quiet
BOOTS = b"BOOT: "


@dataclass(frozen=True)
class Violation:
    """The folder of the trial, and what pytest printed of it."""

    folder: Path
    said: str


def run(line: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def command(*words: str | Path, cwd: Path) -> str:
    """What a subcommand says; it has to end well."""
    done = run([sys.executable, "-m", "powercut.cli", *map(str, words)], cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def loses_the_confirmation(rig: Rig, judge: Judge, rehearsal: Rehearsal, seed: str) -> bool:
    """Whether the trial with this seed will draw a disk on which what was confirmed is not."""
    plan = Plan(f"base-next {CUT} boot pull cache", "next", CUT, LossModel.CACHE, seed, "boot")
    place = rehearsal.place(CUT.name, plan.rng("place"))
    recording = recording_of(rig, rehearsal.log_paths, place, rehearsal.began)
    state, loss = drawn(recording, plan.loss, plan.rng("loss"), seed)
    cut = Cut(str(CUT), None, 0, (loss,))
    seen = Observation("1.0", "1.1", rig.evidence, Promises(0), cut, ("done", "confirmed"), after_cut=judge.look(state))
    return atomicity_at_rest(seen).outcome is Outcome.VIOLATED


@pytest.fixture(scope="module")
def violation(tmp_path_factory: pytest.TempPathFactory) -> Violation:
    """A device that does not flush its confirmation, cut right after it, with a seed that loses it."""
    folder = tmp_path_factory.mktemp("violation")
    environment = varied(ROOT / "env/qemu-ostree.yaml", folder, {"disks": [{"image": DISK}]}, {})
    (folder / "test_confirmed.py").write_text(TEST)
    with rig_of(environment) as rig:
        rehearsal = rehearse(rig, Stimulus(rig.setup.release("next")))
        assert rig.judge is not None
        seeds = (str(number) for number in range(40))
        seed = next(seed for seed in seeds if loses_the_confirmation(rig, rig.judge, rehearsal, seed))
    options = ["-p", "no:cacheprovider", "--lg-env", str(environment), "--powercut-seed", seed]
    done = run([sys.executable, "-m", "pytest", *options, "--powercut-out", "out", "test_confirmed.py"], folder)
    assert done.returncode == 1, done.stdout + done.stderr
    (kept,) = (folder / "out").iterdir()
    return Violation(kept, done.stdout)


@pytest.fixture(scope="module")
def shrunk(violation: Violation) -> tuple[Path, str]:
    """What is left of it, and what was said on the way."""
    said = command("shrink", violation.folder / "record.json", cwd=violation.folder)
    return violation.folder.with_name(f"{violation.folder.name}-shrunk"), said


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "record.json").read_text())
    return found


def reason(folder: Path) -> str:
    return str(record(folder)["verdicts"]["atomicity"]["reason"])


def test_few_writes_are_enough_and_they_are_those_of_the_boot_counter(
    violation: Violation, shrunk: tuple[Path, str]
) -> None:
    folder, said = shrunk
    lost = record(folder)["chosen"]["lost"]
    assert 1 <= len(lost) <= 3
    assert len(lost) <= record(violation.folder)["observation"]["cut"]["losses"][0]["lost"]
    assert "none of them can be left out" in said
    assert "/grubenv" in said
    assert "the same loss shows it from record" in said
    assert reason(folder) == reason(violation.folder)


@pytest.mark.parametrize("small", [False, True], ids=["recorded", "shrunk"])
def test_the_printed_command_replays_it_from_any_folder(
    violation: Violation, shrunk: tuple[Path, str], tmp_path: Path, small: bool
) -> None:
    printed = next(line for line in violation.said.splitlines() if line.startswith("this very state again:"))
    line = (
        printed.partition(":")[2].replace(str(violation.folder), str(shrunk[0])) if small else printed.partition(":")[2]
    )
    again = run([*shlex.split(line), "--powercut-out", "again", "-p", "no:cacheprovider"], tmp_path)
    assert again.returncode == 1, again.stdout + again.stderr
    (folder,) = (tmp_path / "again").iterdir()
    assert reason(folder) == reason(violation.folder)


@pytest.fixture
def clone(violation: Violation, tmp_path: Path) -> Iterator[Path]:
    """Environment, test, record and image at another place, while the first one is gone."""
    first = violation.folder.parents[1]
    clone, gone = tmp_path / "clone", first.with_name(f"{first.name}-gone")
    shutil.copytree(first, clone)
    subprocess.run(["cp", "--sparse=always", DISK, clone / "disk.img"], check=True, timeout=300)
    environment = clone / "qemu-ostree.yaml"
    environment.write_text(environment.read_text().replace(DISK, "disk.img"))
    first.rename(gone)
    try:
        yield clone
    finally:
        gone.rename(first)


@pytest.mark.long
def test_it_is_replayed_shrunk_and_packed_in_a_fresh_clone(violation: Violation, clone: Path) -> None:
    kept = Path("out") / violation.folder.name
    options = ["--powercut-out", "again", "-p", "no:cacheprovider"]
    again = run([sys.executable, "-m", "powercut.cli", "replay", str(kept), *options], clone)
    assert again.returncode == 1, again.stdout + again.stderr
    (folder,) = (clone / "again").iterdir()
    assert reason(folder) == reason(clone / kept)
    assert record(folder)["observation"]["cut"]["losses"] == record(clone / kept)["observation"]["cut"]["losses"]
    assert "none of them can be left out" in command("shrink", kept, cwd=clone)
    command("export", kept.with_name(f"{kept.name}-shrunk"), "--out", "bundle", cwd=clone)
    assert record(clone / kept)["sha256"] in (clone / "bundle/README.md").read_text()


@pytest.mark.parametrize("small", [False, True], ids=["recorded", "shrunk"])
def test_the_bundle_boots_with_qemu_alone(
    violation: Violation, shrunk: tuple[Path, str], tmp_path: Path, small: bool
) -> None:
    bundle = tmp_path / "bundle"
    command("export", shrunk[0] if small else violation.folder, "--out", bundle, cwd=tmp_path)
    (bundle / "base.img").symlink_to(DISK)
    text = (bundle / "README.md").read_text()
    line = text.partition("```sh\n")[2].partition("\n```")[0]
    assert line.startswith("qemu-system-x86_64 ")
    assert f"exec {line}\n" in (bundle / "boot.sh").read_text()

    console = tmp_path / "console"
    with console.open("wb") as out:
        booted = subprocess.Popen(
            ["sh", str(bundle / "boot.sh")],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env={"PATH": os.environ["PATH"]},
        )
    said: Callable[[], bool] = lambda: BOOTS in console.read_bytes()  # noqa: E731
    try:
        assert poll(said, MonotonicClock(), limit_s=180), console.read_bytes()[-2000:]
    finally:
        booted.kill()
        booted.wait(30)


def test_two_exports_are_equal_and_say_what_was_lost(violation: Violation, tmp_path: Path) -> None:
    command("export", violation.folder, "--out", "one.tar", cwd=tmp_path)
    command("export", violation.folder, "--out", "two.tar", cwd=tmp_path)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    subprocess.run(["tar", "xf", "one.tar"], cwd=tmp_path, check=True, timeout=60)
    bundle = tmp_path / violation.folder.name
    writes = (bundle / "writes.txt").read_text()
    assert writes.count(" bytes  lost  ") == record(violation.folder)["observation"]["cut"]["losses"][0]["lost"]
    assert "| HEALTH: OK" in writes
    assert "HEALTH: OK" in (bundle / "console-until-cut.txt").read_text()
    assert BOOTS.decode() in (bundle / "console-after-cut.txt").read_text()
