"""What a step of a journey is judged by: each verdict seen to hold, and seen red for its reason."""

from __future__ import annotations

from dataclasses import replace

import pytest

from powercut.invariants import (
    at_most,
    done,
    fewer,
    freed,
    holds_exactly,
    kept,
    only_new,
    recorded,
    refused,
    runs,
    spared,
    startable,
    stored_once,
    unfetched,
    unreached,
    whole,
)
from powercut.model import (
    NOT_UP,
    Boot,
    DiskView,
    Evidence,
    FileSystem,
    Observation,
    Outcome,
    PathDiff,
    Promises,
    System,
    Update,
    Verdict,
)

UP = Boot("id", "1.1", "c" * 64, True, 9.0)
DONE = Update("1.1", True, 0, ("OTA: done 1.1",), 9.0, 100, 3)
FAILED = Update("1.1", False, 1, ("OTA: failed: refused",), 9.0, 100, 3)
GOOD = DiskView(systems=(System(0, "b.0", "1.1"), System(1, "a.0", "1.0")), boots=0)
COMMIT, OTHER = "c" * 64, "d" * 64
FILE, TREE = f"{'1' * 64}.file", f"{'2' * 64}.dirtree"
OBJECTS = {f"{COMMIT}.commit": (1, 70), f"{COMMIT}.commitmeta": (2, 9), FILE: (3, 500), TREE: (4, 40)}
WANTED = {f"{COMMIT}.commit": 70, FILE: 500, TREE: 40}


def reason(verdict: Verdict) -> str:
    assert verdict.outcome is Outcome.VIOLATED
    return str(verdict)


def test_a_device_that_runs_what_it_should_is_as_it_should_be() -> None:
    assert runs("x", UP, "1.1", confirms=True)


@pytest.mark.parametrize(
    ("boot", "says"),
    [
        (NOT_UP, "did not come up: expected 1.1"),
        (replace(UP, release="1.0"), "runs 1.0, not 1.1"),
        (replace(UP, release=None), "runs cccc"),
        (replace(UP, differing=1, differs=(PathDiff("./a", "missing"),)), "./a: missing"),
        (replace(UP, confirmed=False), "never confirmed"),
    ],
)
def test_a_device_that_runs_something_else_is_found(boot: Boot, says: str) -> None:
    assert says in reason(runs("x", boot, "1.1", confirms=True))


def test_a_whole_disk_holds_and_so_does_one_that_nobody_can_see() -> None:
    assert whole("x", GOOD, "1.1")
    assert whole("x", None, "1.1")


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (replace(GOOD, problems=("grub.cfg is torn",)), "grub.cfg is torn"),
        (replace(GOOD, systems=(System(0, "b.0", "1.1", (PathDiff("/a", "missing"),), 1),)), "/a: missing"),
        (replace(GOOD, systems=(System(0, "b.0", None),)), "the disk is damaged"),
        (replace(GOOD, filesystems=(FileSystem(2, "ext4", False, ("bad inode",)),)), "partition 2: bad inode"),
        (replace(GOOD, bad_objects=1, bad_examples=("ab.file",)), "ab.file"),
        (replace(GOOD, boots=1), "would boot 1.0, not 1.1"),
        (replace(GOOD, boots=None), "would boot nothing"),
    ],
)
def test_a_damaged_disk_is_found(view: DiskView, says: str) -> None:
    assert says in reason(whole("x", view, "1.1"))


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (replace(GOOD, problems=("grubenv is torn",)), "after 2 writes what the boot loader reads is damaged"),
        (replace(GOOD, systems=(System(0, "b.0", "1.1", (PathDiff("/a", "missing"),), 1),)), "b.0: /a: missing"),
        (replace(GOOD, boots=None), "after 2 writes the boot loader would boot nothing, not 1.0 or 1.1"),
        (replace(GOOD, systems=(System(0, "c.0", "1.2"),)), "would boot 1.2"),
    ],
)
def test_a_disk_that_does_not_start_what_it_should_is_found(view: DiskView, says: str) -> None:
    assert says in reason(startable("x", view, ("1.0", "1.1"), "after 2 writes"))


def test_a_disk_that_starts_old_or_new_does_so_before_a_mount_has_mended_it() -> None:
    unclean = replace(GOOD, filesystems=(FileSystem(2, "ext2", False, ("a block count",)),))
    assert startable("x", unclean, ("1.0", "1.1"), "now")


def test_an_update_that_has_to_succeed() -> None:
    assert done("x", DONE)
    assert "failed with 1" in reason(done("x", FAILED))


def test_an_update_that_must_not_succeed() -> None:
    assert refused("x", FAILED, "unsigned", 0)
    assert refused("x", FAILED, "unsigned", None)
    assert "the device took 1.1" in reason(refused("x", DONE, "unsigned", 0))
    assert "the device took 1.1" in reason(refused("x", replace(FAILED, exit_code=0), "unsigned", 0))
    assert "had no end" in reason(refused("x", replace(FAILED, exit_code=None), "unsigned", 0))
    assert "without a word" in reason(refused("x", replace(FAILED, says=("",)), "unsigned", 0))
    assert refused("x", replace(FAILED, requests=0), "unsigned", 0).outcome is Outcome.INCONCLUSIVE
    assert "3 writes went to the boot loader" in reason(refused("x", FAILED, "unsigned", 3))


def test_a_refusal_says_why_and_not_something_else() -> None:
    said = replace(FAILED, says=("OTA: target 1.1", "OTA: failed: refused: it has no signature", ""))
    assert refused("x", said, "unsigned", 0, "no signature")
    found = reason(refused("x", said, "unsigned", 0, "^OTA: failed: .*(key|trust)"))
    assert "unsigned: refused for another reason" in found
    assert "'OTA: failed: refused: it has no signature'" in found
    assert "the device took 1.1" in reason(refused("x", replace(said, exit_code=0), "unsigned", 0, "no signature"))


def test_what_must_be_refused_before_anything_is_fetched() -> None:
    assert unfetched("x", replace(FAILED, sent_bytes=0), "expired")
    assert "expired: 100 bytes of the release were fetched" in reason(unfetched("x", FAILED, "expired"))


def test_a_release_that_is_dropped_is_found() -> None:
    assert kept("x", True, "1.0")
    assert "1.0 can't be gone back to any more" in reason(kept("x", False, "1.0"))


@pytest.mark.parametrize("reported", [None, COMMIT], ids=["never", "the same"])
def test_a_record_that_names_what_runs(reported: str | None) -> None:
    assert recorded("x", COMMIT, reported, COMMIT)


def test_a_record_or_a_report_that_names_something_else_is_found() -> None:
    assert f"the client's record says {OTHER}" in reason(recorded("x", OTHER, None, COMMIT))
    assert "the client's record says nothing" in reason(recorded("x", None, COMMIT, COMMIT))
    assert f"{OTHER} was reported to the director" in reason(recorded("x", COMMIT, OTHER, COMMIT))


def test_a_repository_that_holds_exactly_what_is_kept() -> None:
    assert holds_exactly("x", OBJECTS, WANTED, [COMMIT], [])


@pytest.mark.parametrize(
    ("objects", "unfinished", "says"),
    [
        ({name: found for name, found in OBJECTS.items() if name != FILE}, [], "1 objects of kept releases are gone"),
        (OBJECTS | {f"{'3' * 64}.file": (5, 1)}, [], "1 objects of dropped releases are still there"),
        (OBJECTS | {f"{OTHER}.commitmeta": (5, 1)}, [], f"{OTHER}.commitmeta"),
        (
            OBJECTS | {FILE: (3, 499)},
            [],
            f"1 objects are not as large as in their releases\n  {FILE}: 499 bytes, not 500",
        ),
        (OBJECTS | {TREE: (4, 0)}, [], f"{TREE}: 0 bytes, not 40"),
        (OBJECTS, ["staging-x"], "unfinished pulls are left"),
    ],
)
def test_a_repository_that_lost_or_left_something_is_found(
    objects: dict[str, tuple[int, int]], unfinished: list[str], says: str
) -> None:
    assert says in reason(holds_exactly("x", objects, WANTED, [COMMIT], unfinished))


def test_files_that_are_objects_are_stored_once() -> None:
    objects = {f"{'1' * 64}.file": (11, 5), f"{'2' * 64}.file": (12, 5), f"{'3' * 64}.dirtree": (11, 5)}
    both = {"a.0": {"bin/app": 11}, "b.0": {"bin/app": 11, "bin/tool": 12}}
    assert stored_once("x", objects, both)
    assert "b.0: /usr/bin/tool" in reason(stored_once("x", objects, {**both, "b.0": {"bin/tool": 99}}))
    assert "several objects are one inode" in reason(stored_once("x", {**objects, "4.file": (11, 5)}, both))
    assert stored_once("x", objects, {}).outcome is Outcome.INCONCLUSIVE
    assert stored_once("x", objects, {**both, "c.0": {}}).outcome is Outcome.INCONCLUSIVE


def test_room_that_is_not_there_again_is_found() -> None:
    assert freed("x", 1000, 900, 100)
    assert "101 bytes less" in reason(freed("x", 1000, 899, 100))


def test_what_is_fetched() -> None:
    new = {"a.file": 60, "b.file": 40}
    assert only_new("x", ["a.file"], ["c.file"])
    assert "1 objects were fetched that were there" in reason(only_new("x", ["a.file", "c.file"], ["c.file"]))
    assert at_most("x", 105, new, 5)
    assert "106 bytes were fetched" in reason(at_most("x", 106, new, 5))
    assert fewer("x", 99, new)
    assert "no fewer" in reason(fewer("x", 100, new))


def test_a_promise_that_a_route_never_came_to_is_inconclusive() -> None:
    seen = Observation("1.0", "1.1", Evidence.DISK, Promises(0))
    assert unreached("x", seen).outcome is Outcome.INCONCLUSIVE
    assert "the console is dead" in unreached("x", replace(seen, rig_fault="the console is dead")).reason


SLOTS = DiskView(systems=(System(0, "slot A", "1.0"), System(1, "slot B", "1.1")), boots=0)


def test_an_update_beside_what_runs_spares_it() -> None:
    assert spared("spared", SLOTS, {"slot A": 0, "slot B": 900, "elsewhere": 0})


@pytest.mark.parametrize(
    ("writes", "reason"),
    [
        ({"slot A": 1, "slot B": 900, "elsewhere": 0}, "1 writes went to slot A, which runs"),
        ({"slot A": 0, "slot B": 900, "elsewhere": 2}, "2 writes went to no slot"),
    ],
)
def test_one_write_to_what_runs_or_to_what_is_nobodys_is_a_violation(writes: dict[str, int], reason: str) -> None:
    verdict = spared("spared", SLOTS, writes)
    assert (verdict.outcome, reason in verdict.reason) == (Outcome.VIOLATED, True)


@pytest.mark.parametrize(
    ("before", "writes"),
    [
        (None, {"slot A": 0}),
        (SLOTS, None),
        (SLOTS, {}),
        (DiskView(), {"slot A": 0}),
        (SLOTS, {"slot A": 0, "slot B": 0, "elsewhere": 0}),
    ],
)
def test_without_a_recorded_disk_nobody_knows_what_was_spared(
    before: DiskView | None, writes: dict[str, int] | None
) -> None:
    assert spared("spared", before, writes).outcome is Outcome.INCONCLUSIVE
