"""Every known defect of docs/findings.md is shown red, for its reason and at its weakest loss model, as data.

A variant is an entry of env/variants/variants.yaml. A recorded finding is judged on disks drawn from one rehearsal,
without a boot; a live one needs the boot and the next update after the cut; a travelled one is a route of the suite.
Long is what takes more than 90 s alone, or is shown by a neighbour as well.
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
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT, rig_of

from powercut import at
from powercut.conformance.test_cuts_while_booting import cuts_in_a_row_at_boot
from powercut.conformance.test_rollback import falls_back_from_bad_boot, falls_back_from_bad_health
from powercut.invariants import atomicity, atomicity_at_rest, done, refused, runs, spared, user_data, whole
from powercut.journey import Journey, Route, run_journey
from powercut.model import Cut, DiskView, LossModel, Observation, Outcome, Promises, Verdict
from powercut.origin.faults import Fault, Kind
from powercut.rehearsal import Rehearsal, Stimulus, rehearse
from powercut.rig import Rig
from powercut.trial import Plan, Recording, Trial, announced, drawn, recording_of, run_trial
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
    """A defect that the host sees on a drawn disk: the phase that is cut, the loss model, who says what of it."""

    variant: str
    phase: str
    model: LossModel
    says: str
    judge: Callable[[Observation], Verdict] = atomicity_at_rest


@dataclass(frozen=True)
class Travelled:
    """A defect that a route shows: which promise it breaks, and a pattern of what is said of it."""

    variant: str
    route: Route
    promise: str
    says: str
    start: str = "base"


def one_stall(device: Journey) -> None:
    """The server falls silent in the middle of one answer, and works from then on."""
    device.judge(done("network", device.update("next", faults=(Fault(Kind.STALL, r"^/(objects|deltas)/", byte=50),))))


def an_unsigned_release(device: Journey) -> None:
    """What nobody has signed is on offer."""
    since = device.written()
    update = device.update("unsigned")
    device.judge(refused("refusal", update, "it has no signature", device.boot_writes(since)))


def back_to_what_a_cut_left(device: Journey) -> None:
    """The first update is cut in the other slot, which then is asked for."""
    if not device.cut_update("next", IN_THE_SLOT):
        device.judge(Verdict("way back", Outcome.INCONCLUSIVE, "the update was over before it was cut"))
        return
    device.boot()
    device.roll_back("base")
    device.judge(whole("way back", device.look()))


def one_cut_while_it_boots(device: Journey) -> None:
    """The boot loader has done its part in the start of a release that was confirmed before."""
    device.lose_power()
    device.switch_on()
    rig = device.rig
    if rig.device.await_said("BOOT: .*slot=", rig.setup.boot_s) is None:
        device.judge(Verdict("boots", Outcome.INCONCLUSIVE, "the boot loader said nothing"))
        return
    device.lose_power()
    device.judge(runs("boots", device.boot(), device.version("next")))


# A bundle has 100 MB, and is on the disk before the 256 MiB of its image are.
IN_THE_SLOT = at.megabytes(200)
WEDGED = "this device can't be updated any more"
REFETCHES = [
    Live("stock-pull", at.fraction(0.5), "resumption", "what had arrived was fetched again"),
    Live("unsynced-download", at.fraction(0.5), "resumption", "what had arrived was fetched again"),
]
# Where the objects that were damaged are needed first depends on when they were synced.
WEDGES = [
    Live("per-object-fsync", at.writes(40), "atomicity", WEDGED),
    Live("fixed-boot-id", at.fraction(0.9), "atomicity", f"content differs|{WEDGED}"),
    # Whether the fallback of the new system, which panics, is up in time depends on the host.
    Live(
        "no-fsync",
        at.console("PULLED", after_s=5),
        "atomicity",
        f"did not come up after the next update|said done, but 1.0 runs|{WEDGED}",
    ),
    # Whether the next update trips over the damage, or carries it on, depends on what the kill left.
    Live(
        "boot-nofsck",
        at.phase("during.deploy"),
        "atomicity",
        f"{WEDGED}|after the next update a file system is damaged",
    ),
]
AT_A_KILL = [
    Recorded(
        "boot-journal", "during.switch", LossModel.NONE, "before any recovery the system that boots next is a mix"
    ),
    Recorded("staged", "after.done", LossModel.NONE, "had said that 1.1 is installed, but on the disk 1.0 boots next"),
    Recorded(
        "one-try", "during.first_boot", LossModel.NONE, "had said that 1.1 is installed, but on the disk 1.0 boots next"
    ),
    Recorded("env-journal", "after.confirmed", LossModel.NONE, "had confirmed 1.1, but on the disk 1.0 is confirmed"),
    Recorded(
        "slot-not-cleared", "during.deploy", LossModel.NONE, "before any recovery the system that could boot is a mix"
    ),
    Recorded("rewritten-in-place", "after.done", LossModel.NONE, "/var/lib/app/data changed after the cut", user_data),
]
IN_A_CACHE_ONLY = [
    Recorded("unflushed-confirmation", "after.confirmed", LossModel.ORDERED, "on the disk 1.0 is confirmed"),
    Recorded("unflushed-confirmation", "after.confirmed", LossModel.CACHE, "on the disk 1.0 is confirmed"),
    Recorded("no-barriers", "after.done", LossModel.ORDERED, "had said that 1.1 is installed"),
    Recorded("no-barriers", "after.done", LossModel.CACHE, "before any recovery"),
]
ON_A_ROUTE = [
    Travelled("counts-always", cuts_in_a_row_at_boot, "boots", "the device runs 1.0, not 1.1", start="next"),
    Travelled("marks-active", back_to_what_a_cut_left, "way back", "the disk is damaged"),
    Travelled("unverified", an_unsigned_release, "refusal", r"it has no signature: the device took 1\.1-unsigned"),
    Travelled("upstream-grub", one_cut_while_it_boots, "boots", r"the device runs 1\.0, not 1\.1", start="next"),
    Travelled("uncounted", falls_back_from_bad_boot, "fallback", r"did not come up: expected 1\.0"),
    Travelled("confirms-first", falls_back_from_bad_health, "fallback", r"did not come up: expected 1\.0"),
    Travelled("stalled", one_stall, "network", r"the update to 1\.1 failed with None"),
]
ALONE = ["stock-delta", "unmarked-delta", "writes-what-runs"]
LONG = ["confirms-first", "counts-always", "fixed-boot-id", "no-fsync", "per-object-fsync", "stalled", "uncounted"]
LONG += ["unsynced-download", "upstream-grub", "marks-active", "slot-not-cleared", "env-journal"]
VARIANTS: dict[str, Any] = yaml.safe_load((ROOT / "env/variants/variants.yaml").read_text())


def rows(*findings: Live | Recorded | Travelled) -> pytest.MarkDecorator:
    """One test per finding, named by its variant and, where it is drawn, the loss model."""
    marked = [
        pytest.param(
            row,
            id=f"{row.variant}-{row.model}" if isinstance(row, Recorded) else row.variant,
            marks=pytest.mark.long if row.variant in LONG else (),
        )
        for row in findings
    ]
    return pytest.mark.parametrize("finding", marked)


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


def reasons(
    rig: Rig, phase: str, model: LossModel, judge: Callable[[Observation], Verdict] = atomicity_at_rest
) -> list[str]:
    """What is said of disks that a cut in `phase` could have left, where a promise is broken."""
    rehearsal = rehearse(rig, Stimulus(rig.setup.release("next")))
    found = []
    for number in range(DRAWS):
        rng = Random(f"{SEED}:{phase}:{number}")
        place = rehearsal.place(phase, rng)
        assert place is not None, f"{phase} can't be told"
        state, loss = drawn(recorded(rig, rehearsal, place), model, rng, str(number))
        assert rig.judge is not None
        seen = Observation(
            "1.0",
            "1.1",
            rig.evidence,
            Promises(0),
            Cut(phase, None, 0, (loss,)),
            announced(rig.setup, rehearsal.said_until(place)),
            kept=tuple(rig.setup.keep.items()),
            after_cut=rig.judge.look(state),
        )
        verdict = judge(seen)
        found += [str(verdict)] if verdict.outcome is Outcome.VIOLATED else []
    return found


def recorded(rig: Rig, rehearsal: Rehearsal, place: int) -> Recording:
    return recording_of(rig, rehearsal.log_paths, place, rehearsal.began, rehearsal.spoken)


def disk_of(rig: Rig, rehearsal: Rehearsal, place: int) -> DiskView:
    """What a plain kill at a record leaves."""
    assert rig.judge is not None
    return rig.judge.look(drawn(recorded(rig, rehearsal, place), LossModel.NONE, Random(SEED), SEED)[0])


def last_unfinished(rig: Rig, rehearsal: Rehearsal) -> int:
    """The last record at which the repository does not hold all objects yet, by bisection."""
    assert rehearsal.deploying is not None
    first, last = rehearsal.began, rehearsal.deploying
    whole = disk_of(rig, rehearsal, last).objects
    while last - first > 1:
        middle = (first + last) // 2
        if disk_of(rig, rehearsal, middle).objects < whole:
            first = middle
        else:
            last = middle
    return first


def wedged(trial: Trial, says: str) -> None:
    """The device came up after the cut, as a test sees it that stops there; its next update shows what is broken.

    The host's look after the boot is left out: it may find the damage before the next update does.
    """
    seen = replace(trial.seen, after_boot=None)

    assert trial.judge("atomicity").outcome is Outcome.VIOLATED
    assert atomicity(replace(seen, retries=(), settled=None, after_retry=None)).outcome is Outcome.HOLDS
    assert re.search(says, str(atomicity(seen))), atomicity(seen)


def test_every_variant_has_its_row_here_and_in_the_docs() -> None:
    variants = list(VARIANTS)
    every: list[Live | Recorded | Travelled] = [*REFETCHES, *WEDGES, *AT_A_KILL, *IN_A_CACHE_ONLY, *ON_A_ROUTE]
    shown = {row.variant for row in every}
    documented = re.findall(r"^\| `(\S+)` \|", (ROOT / "docs/findings.md").read_text(), re.MULTILINE)

    assert sorted([*shown, *ALONE]) == sorted(variants)
    assert sorted(documented) == sorted(variants * 2), "one row in each of the two tables"


@rows(*REFETCHES)
def test_what_had_arrived_is_fetched_again(made: Variant, tmp_path: Path, finding: Live) -> None:
    verdict = tried(made(finding.variant), finding, tmp_path).judge(finding.invariant)

    assert verdict.outcome is Outcome.VIOLATED, verdict
    assert re.search(finding.says, str(verdict))


@pytest.mark.parametrize("variant", ["stock-delta"])
def test_a_pull_by_delta_fetches_loose_objects_beside_the_delta(made: Variant, variant: str) -> None:
    rig = made(variant)
    fetched = rehearse(rig, Stimulus(rig.setup.release("next"))).whole_bytes
    delta = sum(file.stat().st_size for file in (ROOT / "build/ostree-stock/repo/deltas").rglob("*") if file.is_file())

    assert fetched > 2 * delta, f"{fetched} bytes fetched, {delta} in deltas"


@rows(*WEDGES)
def test_the_boot_is_green_and_the_next_update_is_red(made: Variant, tmp_path: Path, finding: Live) -> None:
    wedged(tried(made(finding.variant), finding, tmp_path), finding.says)


@pytest.mark.long
@pytest.mark.parametrize("variant", ["unmarked-delta"])
def test_what_was_applied_in_part_is_taken_for_complete(made: Variant, tmp_path: Path, variant: str) -> None:
    rig = made(variant)
    rehearsal = rehearse(rig, Stimulus(rig.setup.release("next")))
    place = last_unfinished(rig, rehearsal)
    cut = Cut(f"between two renames, at record {place}", None, 0)
    trial = run_trial(
        rig,
        Plan(variant, "next", at.phase("during.write"), LossModel.NONE, SEED),
        tmp_path,
        replay=lambda rig: (recorded(rig, rehearsal, place), cut, (), rehearsal.sent_until(place)),
        promises_of=lambda _: ["atomicity"],
    )

    assert disk_of(rig, rehearsal, rehearsal.began).objects < disk_of(rig, rehearsal, place).objects
    wedged(trial, f"{WEDGED}(.|\n)*No such metadata object")
    assert any("PULLED" in line for update in trial.seen.retries for line in update.says), "the pull said success"


@rows(*AT_A_KILL)
def test_a_plain_kill_shows_it_on_the_disk(made: Variant, finding: Recorded) -> None:
    found = reasons(made(finding.variant), finding.phase, finding.model, finding.judge)

    assert [reason for reason in found if finding.says in reason], found


@rows(*IN_A_CACHE_ONLY)
def test_only_a_volatile_cache_shows_it(made: Variant, finding: Recorded) -> None:
    rig = made(finding.variant)

    assert reasons(rig, finding.phase, LossModel.NONE) == []
    found = reasons(rig, finding.phase, finding.model)
    assert [reason for reason in found if finding.says in reason], found


def spares(rig: Rig) -> Verdict:
    """Whether an update writes nothing to what runs, by the log of its rehearsal."""
    rehearsal = rehearse(rig, Stimulus(rig.setup.release("next")))
    assert rig.judge is not None
    writes = rig.judge.system_writes(rehearsal.log_paths, rehearsal.began)
    return spared("spared", disk_of(rig, rehearsal, rehearsal.began), writes)


@pytest.mark.parametrize("variant", ["writes-what-runs"])
def test_an_update_writes_to_what_runs(made: Variant, variant: str) -> None:
    verdict = spares(made(variant))

    assert verdict.outcome is Outcome.VIOLATED, verdict
    assert "writes went to slot A, which runs" in str(verdict)


@rows(*ON_A_ROUTE)
def test_a_route_shows_it(made: Variant, tmp_path: Path, finding: Travelled) -> None:
    plan = Plan(
        finding.variant, finding.start, None, LossModel.NONE, SEED, "boot", "pull", finding.start, stimulus="route"
    )
    verdict = run_journey(made(finding.variant), plan, tmp_path, finding.route).judge(finding.promise)

    assert verdict.outcome is Outcome.VIOLATED, verdict
    assert re.search(finding.says, str(verdict)), verdict


@pytest.mark.parametrize(
    ("phase", "judge"),
    [(phase, atomicity_at_rest) for phase in ("during.switch", "after.done", "during.first_boot", "after.confirmed")]
    + [("after.done", user_data)],
)
def test_the_reference_device_has_none_of_them(
    reference: Rig, phase: str, judge: Callable[[Observation], Verdict]
) -> None:
    assert reasons(reference, phase, LossModel.NONE, judge) == []
    assert reasons(reference, phase, LossModel.CACHE, judge) == []


@pytest.mark.parametrize("phase", ["during.deploy", "after.confirmed"])
def test_the_device_with_two_slots_has_none_of_them(variant: Callable[..., Rig], phase: str) -> None:
    rig = variant("qemu-rauc")

    assert reasons(rig, phase, LossModel.NONE) == []
    assert reasons(rig, phase, LossModel.CACHE) == []
    assert spares(rig).outcome is Outcome.HOLDS


@pytest.mark.long
def test_a_client_that_clears_the_slot_first_has_none_of_them(variant: Callable[..., Rig]) -> None:
    rig = variant("qemu-swupdate", prepare=VARIANTS["slot-not-cleared"]["options"]["prepare"])

    assert reasons(rig, "during.deploy", LossModel.NONE) == []


# The routes of the conformance suite are travelled with it.
@pytest.mark.parametrize(
    ("route", "start"),
    [
        (back_to_what_a_cut_left, "base"),
        (an_unsigned_release, "base"),
        pytest.param(one_cut_while_it_boots, "next", marks=pytest.mark.long),
    ],
)
def test_on_the_same_route_the_device_with_two_slots_is_green(
    variant: Callable[..., Rig], tmp_path: Path, route: Route, start: str
) -> None:
    plan = Plan("rauc", start, None, LossModel.NONE, SEED, "boot", "pull", start, stimulus="route")
    verdicts = run_journey(variant("qemu-rauc"), plan, tmp_path, route).verdicts.values()

    assert [verdict.outcome for verdict in verdicts] == [Outcome.HOLDS], verdicts
