"""Every known defect of docs/findings.md is shown red, for its reason and at its weakest loss model, as data.

A variant is an entry of env/variants/variants.yaml. A recorded finding is judged on disks drawn from one rehearsal,
without a boot; a live one needs the boot and the next update after the cut.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
from tests.conftest import ROOT, rig_of

from powercut import at
from powercut.invariants import atomicity, atomicity_at_rest
from powercut.model import Cut, LossModel, Observation, Outcome, Promises
from powercut.rehearsal import Stimulus, rehearse
from powercut.rig import Rig
from powercut.trial import Plan, Trial, drawn, recording_of, run_trial
from powercut.triggers import AnyTrigger

SEED = "7"
DRAWS = 12
Variant = Callable[[str], Rig]


@dataclass(frozen=True)
class Live:
    """One trial that shows a defect: the cut, the weakest loss model, who catches it, a pattern of what it says."""

    variant: str
    cut: AnyTrigger
    invariant: str
    says: str
    model: LossModel = LossModel.NONE


@dataclass(frozen=True)
class Recorded:
    """A defect that the host sees on a drawn disk: the phase that is cut, the weakest model, what is said of it."""

    variant: str
    phase: str
    model: LossModel
    says: str


REFETCHES = [
    Live("stock-pull", at.fraction(0.5), "resumption", "what had arrived was fetched again"),
    Live("unsynced-download", at.bytes(8_000_000), "resumption", "what had arrived was fetched again"),
]
WEDGES = [
    Live("per-object-fsync", at.megabytes(20), "atomicity", "this device can't be updated any more"),
    Live("fixed-boot-id", at.fraction(0.9), "atomicity", "this device can't be updated any more"),
    # The new system panics; whether the fallback is up in time depends on the host.
    Live(
        "no-fsync",
        at.console("PULLED", after_s=5),
        "atomicity",
        "did not come up after the next update|said done, but 1.0 runs",
    ),
    Live("boot-nofsck", at.phase("during.deploy"), "atomicity", "this device can't be updated any more"),
]
AT_A_KILL = [
    Recorded(
        "boot-journal", "during.switch", LossModel.NONE, "before any recovery the system that boots next is a mix"
    ),
]
IN_A_CACHE_ONLY = [
    Recorded("unflushed-confirmation", "after.confirmed", LossModel.CACHE, "on the disk 1.0 is confirmed"),
    Recorded("no-barriers", "after.done", LossModel.CACHE, "before any recovery"),
]


def name(row: Live | Recorded) -> str:
    return row.variant


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what a user would give to --lg-env."""
    folder = tmp_path_factory.mktemp("variants")
    subprocess.run([sys.executable, ROOT / "tools/variants", "--out", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def made(environments: Path) -> Iterator[Variant]:
    """Attaches a variant by its name."""
    with ExitStack() as stack:
        yield lambda variant: stack.enter_context(rig_of(environments / f"{variant}.yaml"))


def tried(rig: Rig, row: Live, folder: Path) -> Trial:
    return run_trial(
        rig, Plan(row.variant, "next", row.cut, row.model, SEED), folder, promises_of=lambda _: [row.invariant]
    )


def reasons(rig: Rig, phase: str, model: LossModel) -> list[str]:
    """What atomicity says of disks that a cut in `phase` could have left, where it is violated."""
    rehearsal = rehearse(rig, Stimulus(rig.setup.release("next")))
    assert rig.judge is not None
    found = []
    for number in range(DRAWS):
        rng = Random(f"{SEED}:{phase}:{number}")
        place = rehearsal.place(phase, rng)
        assert place is not None, f"{phase} can't be told"
        said = "\n".join(rehearsal.said_until(place))
        announced = [("done", rig.setup.done), ("confirmed", rig.setup.confirmed)]
        state, loss = drawn(recording_of(rig, rehearsal.log_paths, place, rehearsal.began), model, rng, str(number))
        seen = Observation(
            "1.0",
            "1.1",
            rig.evidence,
            Promises(0),
            Cut(phase, None, 0, (loss,)),
            tuple(promise for promise, pattern in announced if pattern and re.search(pattern, said)),
            after_cut=rig.judge.look(state),
        )
        verdict = atomicity_at_rest(seen)
        found += [str(verdict)] if verdict.outcome is Outcome.VIOLATED else []
    return found


@pytest.mark.long
@pytest.mark.parametrize("finding", REFETCHES, ids=name)
def test_what_had_arrived_is_fetched_again(made: Variant, tmp_path: Path, finding: Live) -> None:
    verdict = tried(made(finding.variant), finding, tmp_path).judge(finding.invariant)

    assert verdict.outcome is Outcome.VIOLATED, verdict
    assert re.search(finding.says, str(verdict))


def test_a_pull_by_delta_fetches_loose_objects_beside_the_delta(made: Variant) -> None:
    rig = made("stock-delta")
    fetched = rehearse(rig, Stimulus(rig.setup.release("next"))).whole_bytes
    delta = sum(file.stat().st_size for file in (ROOT / "build/ostree-stock/repo/deltas").rglob("*") if file.is_file())

    assert fetched > 2 * delta, f"{fetched} bytes fetched, {delta} in deltas"


@pytest.mark.long
@pytest.mark.parametrize("finding", WEDGES, ids=name)
def test_the_boot_is_green_and_the_next_update_is_red(made: Variant, tmp_path: Path, finding: Live) -> None:
    trial = tried(made(finding.variant), finding, tmp_path)
    verdict = trial.judge(finding.invariant)
    only_booted = replace(trial.seen, retries=(), settled=None, after_retry=None)

    assert verdict.outcome is Outcome.VIOLATED, verdict
    assert re.search(finding.says, str(verdict))
    assert trial.seen.recovered is not None
    assert trial.seen.recovered.up
    assert not atomicity(replace(only_booted, after_boot=None)).outcome


@pytest.mark.parametrize("finding", AT_A_KILL, ids=name)
def test_a_plain_kill_shows_it_on_the_disk(made: Variant, finding: Recorded) -> None:
    found = reasons(made(finding.variant), finding.phase, finding.model)

    assert [reason for reason in found if finding.says in reason], found


@pytest.mark.parametrize(
    "finding",
    [
        pytest.param(row, marks=pytest.mark.long if row.variant == "no-barriers" else (), id=row.variant)
        for row in IN_A_CACHE_ONLY
    ],
)
def test_only_a_volatile_cache_shows_it(made: Variant, finding: Recorded) -> None:
    rig = made(finding.variant)

    assert reasons(rig, finding.phase, LossModel.NONE) == []
    found = reasons(rig, finding.phase, finding.model)
    assert [reason for reason in found if finding.says in reason], found


@pytest.mark.parametrize("phase", ["during.switch", "after.confirmed"])
def test_the_reference_device_has_none_of_them(reference: Rig, phase: str) -> None:
    assert reasons(reference, phase, LossModel.NONE) == []
    assert reasons(reference, phase, LossModel.CACHE) == []
