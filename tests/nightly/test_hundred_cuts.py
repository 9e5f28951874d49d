"""A hundred cuts in a row on one board, unattended, and the coordinator is killed and started again in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tools.virtual_lab.client import Lab
from tools.virtual_lab.rigs import coordinated

from powercut.clock import MonotonicClock, poll
from powercut.lab.places import free_places, wanted_of

pytestmark = pytest.mark.system
CUTS = int(os.environ.get("POWERCUT_NIGHTLY_CUTS", "100"))
LIMIT_S = 90.0 * CUTS + 600
AWAY_S = 8.0
TESTS = f"""
import pytest
from powercut import at, atomic

@pytest.mark.parametrize("number", range({CUTS}))
def test_a_cut_leaves_old_or_new(powercut, number):
    seen = powercut.update("base", to="next", cut=at.elapsed(0.3 + number % 20 * 0.4), then="boot", repeat=number)
    assert atomic(seen)
"""


def test_nothing_is_lost_and_everything_is_left_in_order(tmp_path: Path) -> None:
    (tmp_path / "test_cuts.py").write_text(TESTS)
    out, environment = tmp_path / "out", ROOT / "env/vlab-ostree.yaml"
    with coordinated(1, loss="cache", seed="7") as lab:
        restarter = threading.Thread(target=restart_in_the_middle, args=(lab, out), daemon=True)
        restarter.start()
        line = [sys.executable, "-m", "pytest", "-v", "--lg-env", str(environment), "--powercut-seed", "7"]
        line += ["--powercut-out", str(out), "-p", "no:cacheprovider", "-W", "ignore", str(tmp_path / "test_cuts.py")]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        print(done.stdout[-6000:])
        restarter.join(60)
        wanted = wanted_of(environment, None)
        assert wanted is not None
        assert free_places(wanted) == ["vlab-1"]
        assert lab.board("vlab-1")["outlet"] is True
    records = [json.loads(file.read_text()) for file in out.glob("*/record.json")]
    judged = [record for record in records if record["verdicts"].get("atomicity", {}).get("outcome") == 0]
    assert len({record["nodeid"] for record in records}) == CUTS
    assert len({record["nodeid"] for record in judged}) == CUTS
    faults = [record["observation"]["rig_fault"] for record in records if record["observation"]["rig_fault"]]
    print(f"{len(records)} trials for {CUTS} cuts; faults of the lab on the way: {faults}")
    assert faults, "the coordinator was away, and no trial noticed it"
    assert done.returncode == 0


def restart_in_the_middle(lab: Lab, out: Path) -> None:
    """Kill the coordinator when half of the trials are recorded, and start it again a little later."""
    clock = MonotonicClock()
    if poll(lambda: len(list(out.glob("*/record.json"))) >= CUTS // 2, clock, limit_s=LIMIT_S, every_s=0.5):
        lab.fault("lab", "coordinator-killed")
        clock.rest(AWAY_S)
        lab.heal("lab")
