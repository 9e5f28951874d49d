"""Devices that break one promise of the suite's journeys, each caught for its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from powercut.conformance.test_refusal import forged_releases
from powercut.conformance.test_retention import three_versions
from powercut.conformance.test_rollback import falls_back_from_bad_health, there_and_back_by_command
from powercut.conformance.test_space import no_room
from powercut.conformance.test_three_releases import three_releases
from powercut.conformance.test_user_files import merged_etc
from powercut.journey import Route, run_journey
from powercut.model import LossModel, Outcome
from powercut.rig import Rig
from powercut.trial import Plan


@dataclass(frozen=True)
class Mutant:
    """A device as data: what is changed in its environment, the journey that shows it, what is broken and why."""

    name: str
    route: Route
    promise: str
    says: str
    options: dict[str, Any] = field(default_factory=dict)
    start: str = "base"


RESTORE = "for d in /ostree/deploy/powercut/deploy/*.0; do cp -a $d/usr/etc/. $d/etc/; done"

MUTANTS = [
    Mutant(
        "goes nowhere when it should go back",
        there_and_back_by_command,
        "rollback",
        "the device runs 1.1, not 1.0",
        {"rollback": "true"},
        start="next",
    ),
    Mutant(
        "never collects the first release",
        three_releases,
        "collection",
        "objects of dropped releases are still there",
        {"prepare": ["ostree refs --create=kept $(ostree rev-parse device:powercut/x86_64/stable)"]},
    ),
    Mutant(
        "fetches what it has",
        three_releases,
        "frugality",
        "objects were fetched that were there",
        {
            "update": "o=$(cd /ostree/repo/objects && ls */*.dirtree | head -n 1);"
            " curl -fsS -o /dev/null {url}/objects/$o; ota-update {url}"
        },
    ),
    Mutant(
        "copies a file that it should link",
        three_releases,
        "stored once",
        "deployed files are copies",
        {
            "update": "ota-update {url} && for d in /ostree/deploy/powercut/deploy/*.0/usr/bin; do"
            " cp -p $d/curl $d/curl.new && mv $d/curl.new $d/curl; done; sync"
        },
    ),
    Mutant(
        "takes what nobody signed",
        forged_releases,
        "refusal",
        "it has no signature: the device took 1.1-unsigned",
        {"prepare": ["ostree config set 'remote \"device\".gpg-verify' false"]},
    ),
    Mutant(
        "calls a failed update a success",
        no_room,
        "room",
        "no room: the device took 1.1",
        {"update": "ota-update {url} || echo OTA: done"},
    ),
    Mutant(
        "keeps two versions whatever it is told",
        three_versions,
        "retention",
        "objects of kept releases are gone",
        {"retention": {"keep": "true", "activate": "ota-rollback {version}"}},
    ),
    Mutant(
        "writes the release's files over the user's",
        merged_etc,
        "merge",
        "changed by the user, is not as it was after the update",
        {"update": f"ota-update {{url}} && {RESTORE}"},
    ),
    Mutant(
        "tries a bad release more often than it may",
        falls_back_from_bad_health,
        "fallback",
        "starts, at most 2 were allowed",
        {"promises": {"boot_tries": 1}},
    ),
]


# One byte of a comment, so that nothing but its content tells; and through one of its names alone.
WRITE = (
    "for d in /ostree/deploy/powercut/deploy/*.0; do printf X |"
    " dd of=$d/usr/bin/ota-rollback bs=1 seek=12 conv=notrunc,fsync; break; done; sync"
)


@pytest.mark.long
def test_a_write_through_a_hard_link_is_found_in_both_releases(variant: Callable[..., Rig], tmp_path: Path) -> None:
    rig = variant(update=f"ota-update {{url}} && {WRITE}")
    plan = Plan("hard link", "base", None, LossModel.NONE, "7", "boot", "pull", "base", "route")
    verdict = run_journey(rig, plan, tmp_path, three_releases).judge("stored once")

    assert (verdict.outcome, verdict.reason) == (Outcome.VIOLATED, "the disk is damaged"), verdict
    assert sum("/usr/bin/ota-rollback" in line for line in verdict.evidence) == 2, verdict


IN_EVERY_CHECK = (there_and_back_by_command, forged_releases, no_room)


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(mutant, id=mutant.name, marks=() if mutant.route in IN_EVERY_CHECK else pytest.mark.long)
        for mutant in MUTANTS
    ],
)
def test_a_device_that_breaks_a_promise_is_caught_for_the_stated_reason(
    variant: Callable[..., Rig], tmp_path: Path, mutant: Mutant
) -> None:
    plan = Plan(mutant.name, mutant.start, None, LossModel.CACHE, "7", "boot", "pull", mutant.start, "route")
    verdict = run_journey(variant(**mutant.options), plan, tmp_path, mutant.route).judge(mutant.promise)

    assert verdict.outcome is Outcome.VIOLATED, verdict
    assert mutant.says in str(verdict)
