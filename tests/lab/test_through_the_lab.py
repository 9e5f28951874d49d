"""The reference device as a board: every promise through console, network and supply of a rack, and nothing else.

What the board says of itself is compared with what the host finds on its disk: a check of the judge that boards have.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from labgrid import Environment
from tests.conftest import ROOT
from tools.virtual_lab.client import Lab
from tools.virtual_lab.rigs import coordinated, environment, kept
from tools.virtual_lab.second_opinion import JUDGE, RACK, contradiction, looked_at

from powercut.model import Boot, DiskView
from powercut.rig import setup_of
from powercut.upkeep import Upkeep

pytestmark = pytest.mark.system
TAMPER = "mount -o remount,rw /usr && echo changed >>/usr/lib/os-release && sync"
JUDGED_BY = str(ROOT / "env/qemu-ostree.yaml")
ONE_PER_PROMISE = (
    "undisturbed or (fraction:0.5 and not again and not back) or by_command or its_health or without_room"
    " or forged or is_down or two_versions or (three_releases and not skipped) or merged"
)
PROMISES = {
    *("undisturbed", "atomicity", "user data", "resumption", "rollback", "fallback", "room", "refusal", "network"),
    *("retention", "collection", "stored once", "frugality", "deltas", "back again", "merge"),
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two boards whose disks lose what a volatile write cache may lose."""
    with coordinated(2, loss="cache", seed="7") as lab:
        yield lab


def test_each_promise_holds_through_console_network_and_supply(lab: Lab, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = suite(lab, "-n", "auto", "-k", ONE_PER_PROMISE, "--powercut-out", str(out))
    assert done.returncode == 0, done.stdout[-6000:]
    records = recorded(out)
    assert {record["observation"]["evidence"] for record in records} == {"console"}
    assert {promise for record in records for promise in record["verdicts"]} >= PROMISES
    cuts = [record["observation"]["cut"] for record in records if record["plan"]["cut"] is not None]
    assert cuts
    assert all({"a fresh banner", "a new boot id"} <= set(cut["off"]["by"]) for cut in cuts)
    assert all("silent" in " ".join(cut["off"]["by"]) for cut in cuts)


def test_a_host_that_contradicts_a_board_is_heard(lab: Lab) -> None:
    view, up = on_the_host(lab), Boot("id", "1.0", "c0ffee", confirmed=True, boot_s=9.0)
    assert view.chosen is not None
    same = replace(up, release=view.chosen.release)
    assert contradiction(same, view) is None
    assert "its disk boots" in str(contradiction(replace(up, release="9.9"), view))
    assert "paths differ" in str(contradiction(replace(same, differing=1), view))


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
    found = [diff.path for system in on_the_host(lab).systems for diff in system.differs]
    assert found == ["/usr/lib/os-release"]
    upkeep.heal("somebody wrote to a file of the release", rewrite=True)
    rig = upkeep.rig
    assert rig.compared(rig.release_of(rig.running().commit)) == ()


def suite(lab: Lab, *options: str) -> subprocess.CompletedProcess[str]:
    """The conformance suite in a pytest of its own: labgrid keeps one coordinator per process.

    The host looks at each disk as well, and contradicts a board that does not tell what is there.
    """
    line = [sys.executable, "-m", "pytest", "--lg-env", str(ROOT / "env/vlab-ostree.yaml"), "--powercut-seed", "7"]
    line += ["-p", "tools.virtual_lab.second_opinion", "--pyargs", "powercut.conformance", *options]
    told = {**os.environ, RACK: str(lab.folder), JUDGE: JUDGED_BY}
    return subprocess.run(line, cwd=ROOT, env=told, capture_output=True, text=True, timeout=2400, check=False)


def recorded(out: Path) -> list[dict[str, Any]]:
    """The records of a run, in the order in which they were written."""
    files = sorted(out.glob("*/record.json"), key=lambda file: file.stat().st_mtime)
    return [json.loads(file.read_text()) for file in files]


def on_the_host(lab: Lab) -> DiskView:
    """What the host finds on the board's disk as it now is."""
    return looked_at(lab, "vlab-1", setup_of(Environment(JUDGED_BY).get_target()))
