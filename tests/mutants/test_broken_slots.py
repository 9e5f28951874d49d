"""Devices with two slots that break one promise, each caught for its reason: RAUC as it comes, and as it is misused.

The defects that are known from the field are variants: test_findings.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from powercut import at
from powercut.conformance.test_refusal import an_older_release
from powercut.journey import Route, run_journey
from powercut.model import LossModel, Outcome
from powercut.rig import Rig
from powercut.trial import Plan, run_trial
from powercut.triggers import AnyTrigger

WITH_RAUC = ". /usr/lib/device/slots.sh; . /usr/lib/device/client.sh; start_bus; rauc"
# RAUC takes 8 MiB from a URL, unless told otherwise; /etc is writable here, and RAUC reads it when it is first asked.
LARGE = (
    "grep -q max-bundle /etc/rauc/system.conf || sed -i '/^bundle-/a max-bundle-download-size=1073741824' /etc/rauc/*;"
)
FROM_A_URL = f"{LARGE} {WITH_RAUC} install {{url}}/{{bundle}} && echo 'OTA: ''done'"


@dataclass(frozen=True)
class Cut:
    """A device as data: what is changed in its environment, the cut that shows it, who has to catch it and why."""

    name: str
    cut: AnyTrigger
    invariant: str
    says: str
    options: dict[str, Any] = field(default_factory=dict)
    start: str = "base"
    to: str = "next"


@dataclass(frozen=True)
class Travelled:
    """The same with a journey that shows it."""

    name: str
    route: Route
    promise: str
    says: str
    options: dict[str, Any] = field(default_factory=dict)
    start: str = "base"


CUT = [
    Cut(
        "installs from a URL, which RAUC does not resume",
        at.bytes(50_000_000),
        "resumption",
        "what had arrived was fetched again",
        {"update": FROM_A_URL},
    ),
]

TRAVELLED = [
    Travelled(
        "takes an older release",
        an_older_release,
        "refusal",
        "it is older than what runs: the device took 1.0",
        {"update": "ota-update --downgrade {url}/{bundle}"},
        start="next",
    ),
]


@pytest.mark.long
@pytest.mark.parametrize("mutant", CUT, ids=lambda mutant: mutant.name)
def test_a_cut_shows_what_is_broken(variant: Callable[..., Rig], tmp_path: Path, mutant: Cut) -> None:
    rig = variant("qemu-rauc", **mutant.options)
    plan = Plan(mutant.name, mutant.to, mutant.cut, LossModel.NONE, "7", start=mutant.start)
    trial = run_trial(rig, plan, tmp_path)
    verdict = trial.judge(mutant.invariant)

    assert verdict.outcome is Outcome.VIOLATED, verdict
    assert mutant.says in str(verdict)


@pytest.mark.long
@pytest.mark.parametrize("mutant", TRAVELLED, ids=lambda mutant: mutant.name)
def test_a_journey_shows_what_is_broken(variant: Callable[..., Rig], tmp_path: Path, mutant: Travelled) -> None:
    plan = Plan(mutant.name, mutant.start, None, LossModel.NONE, "7", "boot", "pull", mutant.start, "route")
    verdict = run_journey(variant("qemu-rauc", **mutant.options), plan, tmp_path, mutant.route).judge(mutant.promise)

    assert verdict.outcome is Outcome.VIOLATED, verdict
    assert mutant.says in str(verdict)
