"""Proof that the suite works: devices with a planted defect, each caught by one invariant, for its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from powercut import at
from powercut.model import LossModel, Outcome
from powercut.rig import Rig
from powercut.trial import Plan, run_trial
from powercut.triggers import AnyTrigger


@dataclass(frozen=True)
class Mutant:
    """A device as data: what is changed in its environment, the cut that shows it, who has to catch it and why."""

    name: str
    cut: AnyTrigger
    invariant: str
    says: str
    options: dict[str, Any] = field(default_factory=dict)


IN_DOWNLOAD = at.console("OTA: have")
TAMPERS = ["echo changed >> $(ls -d /sysroot/ostree/deploy/powercut/deploy/*.0)/usr/lib/os-release"]

MUTANTS = [
    Mutant(
        "says done before it is",
        at.console("OTA: done early"),
        "atomicity",
        "the console had said that 1.1 is installed, but on the disk 1.0 boots next",
        {"update": "echo 'OTA: d''one early'; sleep 5; ota-update {url}"},
    ),
    Mutant(
        "can't be interrupted twice",
        IN_DOWNLOAD,
        "atomicity",
        "this device can't be updated any more",
        {
            "update": "if [ -e /var/lib/lock ]; then echo OTA: failed: locked; exit 1; fi; touch /var/lib/lock; sync;"
            " ota-update {url}"
        },
    ),
    Mutant("changes a file of a release", IN_DOWNLOAD, "atomicity", "/usr/lib/os-release", {"prepare": TAMPERS}),
    Mutant(
        "changes a file of a release, judged on the device",
        IN_DOWNLOAD,
        "atomicity",
        "./lib/os-release: content differs",
        {"prepare": TAMPERS, "evidence": "console"},
    ),
    Mutant(
        "throws its download away",
        at.bytes(3_000_000),
        "resumption",
        "what had arrived was fetched again",
        {"update": "rm -rf /var/lib/ota; ota-update {url}"},
    ),
    Mutant(
        "throws its download away, judged on the device",
        at.bytes(3_000_000),
        "resumption",
        "what had arrived was fetched again",
        {"update": "rm -rf /var/lib/ota; ota-update {url}", "evidence": "console"},
    ),
    Mutant(
        "loses the user's file",
        IN_DOWNLOAD,
        "user data",
        "/etc/app/user.conf is gone",
        {"update": "rm -f /etc/app/user.conf; sync; ota-update {url}"},
    ),
    Mutant(
        "writes over the user's file, judged on the device",
        IN_DOWNLOAD,
        "user data",
        "/var/lib/app/data changed",
        {"update": "echo factory > /var/lib/app/data; sync; ota-update {url}", "evidence": "console"},
    ),
]


LONG = {
    "changes a file of a release",
    "throws its download away, judged on the device",
    "writes over the user's file, judged on the device",
}


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(mutant, id=mutant.name, marks=pytest.mark.long if mutant.name in LONG else ()) for mutant in MUTANTS],
)
def test_a_broken_device_is_caught_for_the_stated_reason(
    variant: Callable[..., Rig], tmp_path: Path, mutant: Mutant
) -> None:
    rig = variant(**mutant.options)
    trial = run_trial(rig, Plan(mutant.name, "next", mutant.cut, LossModel.CACHE, "7"), tmp_path)
    verdict = trial.judge(mutant.invariant)

    assert verdict.outcome is Outcome.VIOLATED, verdict
    assert mutant.says in str(verdict)
