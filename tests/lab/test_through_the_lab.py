"""The reference device as a board: every promise through console, network and supply of a rack, and nothing else.

What the board says of itself is compared with what the host finds on its disk: a check of the judge that boards have.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from labgrid import Environment
from tests.conftest import ROOT
from tools.virtual_lab.client import Lab
from tools.virtual_lab.rigs import coordinated, environment, kept

from powercut.clients import client_of
from powercut.disk.blocks import open_blocks
from powercut.lab.saves import cache_folder
from powercut.model import DiskView
from powercut.rig import setup_of
from powercut.upkeep import Upkeep

pytestmark = pytest.mark.system
ONE_PER_PROMISE = "(undisturbed or fraction:0.5 or during.deploy) and not again and not back"
TAMPER = "mount -o remount,rw /usr && echo changed >>/usr/lib/os-release && sync"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One board whose disk loses what a volatile write cache may lose."""
    with coordinated(1, loss="cache", seed="7") as lab:
        yield lab


def test_each_promise_holds_through_console_network_and_supply(lab: Lab, tmp_path: Path) -> None:
    done = suite("-k", ONE_PER_PROMISE, "--powercut-out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout[-4000:]
    records = recorded(tmp_path / "out")
    assert {record["observation"]["evidence"] for record in records} == {"console"}
    cuts = [record["observation"]["cut"] for record in records if record["plan"]["cut"] is not None]
    assert all("silent" in " ".join(cut["off"]["by"]) for cut in cuts)
    assert lab.board("vlab-1")["loss"] is not None
    view = on_the_host(lab, tmp_path)
    assert view.systems
    assert all(system.complete for system in view.systems)
    assert view.chosen is not None
    assert view.chosen.release == records[-1]["observation"]["settled"]["release"]


@pytest.fixture
def upkeep(lab: Lab, tmp_path: Path) -> Iterator[Upkeep]:
    """The board under the test's own hand; it is written anew when nothing else helps."""
    reflash = f"{ROOT}/tools/vlab reflash --dir {lab.folder} vlab-1"
    with kept(environment(tmp_path, "vlab-1", reflash={"command": reflash})) as upkeep:
        yield upkeep


def test_a_changed_file_is_found_on_the_board_and_on_its_disk_and_goes_with_a_reflash(
    lab: Lab, upkeep: Upkeep, tmp_path: Path
) -> None:
    rig = upkeep.rig
    rig.device.bring_up()
    running = rig.release_of(rig.running().commit)
    assert rig.compared(running) == ()
    rig.device.must(TAMPER, "tampering")
    assert [diff.path for diff in rig.compared(running)] == ["./lib/os-release"]
    found = [diff.path for system in on_the_host(lab, tmp_path).systems for diff in system.differs]
    assert found == ["/usr/lib/os-release"]
    upkeep.heal("somebody wrote to a file of the release", rewrite=True)
    rig = upkeep.rig
    assert rig.compared(rig.release_of(rig.running().commit)) == ()


def suite(*options: str) -> subprocess.CompletedProcess[str]:
    """The conformance suite in a pytest of its own: labgrid keeps one coordinator per process."""
    line = [sys.executable, "-m", "pytest", "--lg-env", str(ROOT / "env/vlab-ostree.yaml"), "--powercut-seed", "7"]
    line += ["--pyargs", "powercut.conformance", *options]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)


def recorded(out: Path) -> list[dict[str, Any]]:
    """The records of a run, in the order in which they were written."""
    files = sorted(out.glob("*/record.json"), key=lambda file: file.stat().st_mtime)
    return [json.loads(file.read_text()) for file in files]


def on_the_host(lab: Lab, folder: Path) -> DiskView:
    """What the host finds on the board's disk as it now is."""
    overlay, raw = folder / "disk.qcow2", folder / "disk.raw"
    lab.snapshot("vlab-1", overlay)
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(overlay), str(raw)], check=True, timeout=300)
    setup = setup_of(Environment(str(ROOT / "env/qemu-ostree.yaml")).get_target())
    with open_blocks(raw) as blocks:
        return client_of(setup).judge(raw, cache_folder() / "manifests", folder).look(blocks)
