"""`powercut calibrate` and `powercut doctor` on a virtual rack: what they measure, and what they find."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.virtual_lab.client import Lab
from tools.virtual_lab.rigs import coordinated, environment

from powercut.clock import MonotonicClock, poll
from powercut.lab.calibration import Calibration, calibration_of
from powercut.lab.wear import Wear

pytestmark = pytest.mark.system
BOARD, OTHER = "vlab-1", "vlab-2"
LIMIT_S = 200
TLS = {"url": "{scheme}://10.0.2.2:{port}", "tls": True, "token": True}
LIMITS = {"boot_s": 60, "command_s": 10}
SUPPLY = "NetworkPowerDriver: model simplerest, host {}, index 1"


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two boards, and a cache of our own."""
    with coordinated(2) as lab, pytest.MonkeyPatch.context() as patch:
        patch.setenv("POWERCUT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield lab


@pytest.fixture
def lab(rack: Lab) -> Iterator[Lab]:
    """The rack, with nothing wrong before and after."""
    yield rack
    rack.heal()


def command(*words: str, limit_s: float = LIMIT_S) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "powercut.cli", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=limit_s, check=False)


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """Each step's state and what was said, as one line."""
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    text = done.stdout.replace("\n      ", " ")
    lines = [line.split(maxsplit=2) for line in text.splitlines()[:-1]]
    return {step: f"{state} {' '.join(said.split())}" for state, step, said in lines}


def doctor(file: Path, *words: str) -> tuple[int, dict[str, str]]:
    done = command("doctor", "--lg-env", str(file), *words)
    return done.returncode, findings(done)


def wrong(found: Mapping[str, str]) -> list[str]:
    return [step for step, said in found.items() if said.startswith("WRONG")]


def varied(folder: Path, place: str = BOARD, shell: Mapping[str, Any] | None = None, **options: Any) -> Path:
    """The environment of one place; `shell`: changed arguments of the ShellDriver."""
    file = environment(folder, place, **{"limits": LIMITS, **options})
    data = yaml.safe_load(file.read_text())
    data["targets"]["main"]["drivers"]["ShellDriver"].update(shell or {})
    file.write_text(yaml.safe_dump(data, sort_keys=False))  # labgrid binds drivers in their order
    return file


def kept(lab: Lab) -> Calibration:
    found = calibration_of(BOARD, SUPPLY.format(lab.board(BOARD)["http"]))
    assert found is not None
    return found


def test_a_rig_is_measured_and_the_drivers_use_what_was_measured(lab: Lab, tmp_path: Path) -> None:
    file = varied(tmp_path, origin=TLS)
    done = command("calibrate", "--lg-env", str(file), "--cuts", "2", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    found = kept(lab)
    assert len(found.dead_s) == len(found.acknowledged_s) == len(found.boot_s) == 2
    assert all(0 <= dead_s < 0.5 for dead_s in found.dead_s)
    assert all(0 < acknowledged_s < 3 for acknowledged_s in found.acknowledged_s)
    assert all(1 < boot_s < 60 for boot_s in found.boot_s)
    assert 0.3 < found.min_off_s < 2.5
    assert found.console_lost == 0
    assert found.console_bytes_per_s > 500
    assert "asked to dead" in done.stdout
    assert "seed 1" in done.stdout
    assert lab.board(BOARD)["pid"] is not None

    status, steps = doctor(file)
    assert (status, wrong(steps)) == (0, [])
    assert all(said.startswith("ok ") for said in steps.values()), steps
    assert "it feeds this board" in steps["outlet"]
    assert "the board fetched a file from https://10.0.2.2:" in steps["origin"]
    assert f"asked for {found.lead_s * 1000:.0f} ms earlier" in steps["calibration"]


@pytest.mark.long
def test_a_board_that_browns_out_is_measured_to_its_end(lab: Lab, tmp_path: Path) -> None:
    file = varied(tmp_path, limits={**LIMITS, "boot_s": 30})
    brown_out_s = 3.0
    lab.fault(BOARD, "brown-out", 1000 * brown_out_s)
    try:
        line = ("calibrate", "--lg-env", str(file), "--cuts", "1", "--seed", "1")
        done = command(*line, limit_s=10 * LIMIT_S)
    finally:
        lab.heal()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "it did not come up" in done.stdout
    assert 0.95 * brown_out_s <= kept(lab).min_off_s <= 2 * brown_out_s


def test_who_interrupts_a_measurement_leaves_the_power_on_and_the_place_free(lab: Lab, tmp_path: Path) -> None:
    file, worn = varied(tmp_path), Wear(BOARD)
    before = worn.total.cuts
    line = [sys.executable, "-m", "powercut.cli", "calibrate", "--lg-env", str(file), "--cuts", "1"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        poll(lambda: worn.total.cuts > before or process.poll(), MonotonicClock(), limit_s=LIMIT_S, every_s=0.02)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "nothing was kept" in said
    assert "Traceback" not in said
    assert lab.board(BOARD)["pid"] is not None
    shown = subprocess.run(
        [sys.executable, "-m", "labgrid.remote.client", "who"], capture_output=True, text=True, timeout=60, check=True
    )
    assert BOARD not in shown.stdout


def test_a_wrong_prompt_is_named_with_the_right_one(lab: Lab, tmp_path: Path) -> None:
    status, steps = doctor(varied(tmp_path, shell={"prompt": "admin@board:# "}), "--no-cut")
    assert (status, wrong(steps)) == (1, ["login"])
    assert "prompts 'root@device:# '; prompt is 'admin@board:# '" in steps["login"]
    assert steps["origin"] == "- not checked: needs login"


def test_without_consent_nothing_is_cut_and_an_origin_that_the_board_does_not_reach_is_found(
    lab: Lab, tmp_path: Path
) -> None:
    before = lab.board(BOARD)["cuts"]
    file = varied(tmp_path, may_cut_power=False, driver={"rest_state": "off"}, origin={})
    status, steps = doctor(file)
    assert (status, wrong(steps)) == (1, ["consent", "origin"])
    assert steps["outlet"] == "- not checked: needs consent"
    assert "no request arrived" in steps["origin"]
    assert "to do: 127.0.0.1 is this host to itself: set `origin: bind`" in steps["origin"]
    assert lab.board(BOARD)["cuts"] == before


def test_a_console_that_loses_bytes_is_found(lab: Lab, tmp_path: Path) -> None:
    lab.fault(BOARD, "loses-bytes", 0.0003)
    status, steps = doctor(varied(tmp_path), "--no-cut")
    assert status == 1
    assert {*wrong(steps)} & {"login", "losses"}


def test_a_power_switch_that_says_yes_and_does_nothing_is_found(lab: Lab, tmp_path: Path) -> None:
    lab.fault(BOARD, "ignores")
    status, steps = doctor(varied(tmp_path))
    assert (status, wrong(steps)) == (1, ["outlet"])
    assert "reads back as on" in steps["outlet"]
    assert steps["client"].startswith("ok")


def test_an_outlet_that_feeds_another_board_is_found(lab: Lab, tmp_path: Path) -> None:
    lab.fault(BOARD, "miswired", OTHER)
    status, steps = doctor(varied(tmp_path))
    assert (status, wrong(steps)) == (1, ["outlet"])
    assert "the board still answers; the outlet reads back as off" in steps["outlet"]
    assert "whether it feeds another board" in steps["outlet"]
    assert steps["client"].startswith("ok")


def test_a_place_that_somebody_else_holds_is_found_and_named(lab: Lab, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "labgrid.remote.client", "-p", OTHER]
    others = {**os.environ, "LG_USERNAME": "colleague"}
    subprocess.run([*line, "acquire"], env=others, capture_output=True, timeout=60, check=True)
    began_s = time.monotonic()
    status, steps = doctor(varied(tmp_path, OTHER), "--wait", "1")
    subprocess.run([*line, "release"], env=others, capture_output=True, timeout=60, check=True)
    assert (status, wrong(steps)) == (1, ["place"])
    assert "/colleague" in steps["place"]
    assert time.monotonic() - began_s < 20
