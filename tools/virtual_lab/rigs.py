"""For tests and measurements: rigs on a rack's boards, attached as the plugin attaches them."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from powercut.clock import MonotonicClock
from powercut.lab.places import hold, wanted_of
from powercut.upkeep import Upkeep

from .client import Lab, rack

ROOT = Path(__file__).resolve().parents[2]
# a virtual board under load boots in 8 to 15 s
LIMITS = {"boot_s": 60, "update_s": 120, "command_s": 40}


@contextmanager
def coordinated(boards: int = 1, **how: Any) -> Iterator[Lab]:
    """A rack whose coordinator this process uses."""
    before = {key: os.environ.get(key) for key in ("LG_COORDINATOR", "PATH")}
    with rack(boards, **how) as lab:
        os.environ |= {"LG_COORDINATOR": lab.coordinator, "PATH": f"{lab.path}:{os.environ['PATH']}"}
        try:
            yield lab
        finally:
            for key, value in before.items():
                os.environ.pop(key, None) if value is None else os.environ.update({key: value})


def environment(
    folder: Path, place: str, driver: dict[str, Any] | None = None, *, supply: str = "http", **options: Any
) -> Path:
    """A copy of env/vlab-ostree.yaml for one place; `driver`: arguments of PowercutBoardDriver.

    `supply`: the way to the outlet, "http", "snmp" or "pdudaemon".
    """
    data = copy.deepcopy(
        yaml.safe_load((ROOT / "env/vlab-ostree.yaml").read_text().replace("../build/", f"{ROOT}/build/"))
    )
    main = data["targets"]["main"]
    main["resources"]["RemotePlace"]["name"] = place
    main["drivers"]["PowercutBoardDriver"].update({"off_s": 1.0, "answer_s": 3.0, **(driver or {})})
    drivers = main["drivers"]
    if supply == "pdudaemon":
        del drivers["NetworkPowerDriver"]
        drivers["PDUDaemonDriver"] = {}
        drivers["PowercutBoardDriver"] = drivers.pop("PowercutBoardDriver")  # bound after what it needs
    else:
        drivers["NetworkPowerDriver"]["bindings"]["port"] = supply
    powercut = main["options"]["powercut"]
    del powercut["places"]
    powercut.update({"limits": LIMITS, **options})
    file = folder / f"{place}.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    return file


@contextmanager
def kept(file: Path) -> Iterator[Upkeep]:
    """The rig of an environment of one place, which is held meanwhile."""
    wanted = wanted_of(file, None)
    assert wanted is not None
    held = hold(wanted, limit_s=30)
    try:
        with Upkeep(str(file), "main", MonotonicClock(), hold=held) as upkeep:
            yield upkeep
    finally:
        held.release()
