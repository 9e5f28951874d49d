"""Devices that believe metadata which they should not, or lose their own record: each caught for its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from powercut.conformance.test_metadata import (
    expired_metadata,
    metadata_below_the_threshold,
    metadata_by_a_wrong_key,
    mixed_metadata,
    replayed_after_a_cut,
    replayed_metadata,
    unlisted_release,
)
from powercut.conformance.test_record import cut_before_it_is_recorded
from powercut.journey import Route, run_journey
from powercut.model import LossModel, Outcome
from powercut.rig import Rig
from powercut.trial import Plan


@dataclass(frozen=True)
class Mutant:
    """A device as data: the command that it updates itself with, the journey that shows it, and why."""

    name: str
    update: str
    route: Route
    promise: str
    says: str
    start: str = "base"


# The commit is taken from what the director says, whoever signed it.
BELIEVES = (
    "curl -fsS {url}/director/targets.json {url}/repo/targets.json"
    ' | jq -s \'[.[].signed.targets[]] | {version: "?", ref: "powercut/x86_64/stable", commit: .[0].hashes.sha256,'
    " deltas: ([.[].custom.deltas // [] | .[]])}' >/run/offer"
    " && ota-update --offer /run/offer {url}/treehub && echo 'UPTANE: do''ne'"
)
CHANGED = "sed %s /usr/bin/ota-uptane >/run/agent; python3 /run/agent {url}"
# The record is only written where something was installed, and late.
BEHIND = CHANGED % (
    "-e 's/if settle():/if False:/' -e 's/^    settle()$/"
    "    if commit_of(newest()) == commit_of(booted()): return 0\\n    time.sleep(5)\\n    settle()/'"
)
TWICE = (
    "ota-uptane {url} >/run/said; code=$?; cat /run/said; ! grep -q already /run/said ||"
    " ostree admin deploy --os=powercut device:{ref} >/dev/null; (exit $code)"
)

BELIEVERS = [
    Mutant("believes expired metadata", BELIEVES, expired_metadata, "metadata", "has expired: the device took"),
    Mutant("believes mixed metadata", BELIEVES, mixed_metadata, "metadata", "is of several versions: the device took"),
    Mutant(
        "believes anybody", BELIEVES, metadata_by_a_wrong_key, "metadata", "is signed by somebody else: the device took"
    ),
    Mutant(
        "believes one of two",
        BELIEVES,
        metadata_below_the_threshold,
        "metadata",
        "has fewer signatures than it takes: the device took",
    ),
    Mutant(
        "believes the director alone",
        BELIEVES,
        unlisted_release,
        "metadata",
        "does not list the release: the device took",
    ),
    Mutant(
        "forgets what it has seen",
        "rm -rf /var/lib/uptane; ota-uptane {url}",
        replayed_metadata,
        "metadata",
        "is older than what was seen before: the device took",
        start="next",
    ),
]
OTHERS = [
    Mutant(
        "keeps what it has seen in memory",
        "mkdir -p /var/lib/uptane; [ -e /var/lib/uptane/director ] || mount -t tmpfs seen /var/lib/uptane;"
        " ota-uptane {url}",
        replayed_after_a_cut,
        "metadata",
        "is older than what was seen before: the device took",
    ),
    Mutant(
        "has a clock that stands still",
        "date -u -s @1700000000 >/dev/null; ota-uptane {url}",
        expired_metadata,
        "metadata",
        "has expired: the device took",
    ),
    Mutant(
        "pulls before it verifies",
        "curl -fsS -o /dev/null {url}/treehub/delta-files/1.0-1.1.delta; ota-uptane {url}",
        metadata_below_the_threshold,
        "metadata",
        "of the release were fetched all the same",
    ),
    Mutant("leaves its record behind", BEHIND, cut_before_it_is_recorded, "record", "and the client's record says"),
    Mutant(
        "installs what runs once more", TWICE, cut_before_it_is_recorded, "record", "1.0 can't be gone back to any more"
    ),
]
IN_EVERY_CHECK = ("believes anybody",)


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(mutant, id=mutant.name, marks=() if mutant.name in IN_EVERY_CHECK else pytest.mark.long)
        for mutant in (*BELIEVERS, *OTHERS)
    ],
)
def test_a_device_that_breaks_a_promise_is_caught_for_the_stated_reason(
    variant: Callable[..., Rig], tmp_path: Path, mutant: Mutant
) -> None:
    plan = Plan(mutant.name, mutant.start, None, LossModel.CACHE, "7", "boot", "pull", mutant.start, "route")
    rig = variant("qemu-ostree-uptane", update=mutant.update)
    verdict = run_journey(rig, plan, tmp_path, mutant.route).judge(mutant.promise)

    assert verdict.outcome is Outcome.VIOLATED, verdict
    assert mutant.says in str(verdict)
