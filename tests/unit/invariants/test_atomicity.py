"""Old or new, never a mix; what was announced is durable; the next update succeeds."""

from __future__ import annotations

import pytest

from powercut.invariants import atomicity
from powercut.model import NOT_UP, DiskView, Observation, Outcome, PathDiff, Promises
from tests.unit.observations import DAMAGED, FILES, FOREIGN, MIX, OLD, boot, seen, update, view

ALIEN = PathDiff("/usr/bin/app", "content differs")


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(seen(), id="old came up"),
        pytest.param(seen(recovered=boot("1.1"), after_boot=view(boots=1)), id="new came up"),
        pytest.param(seen(after_cut=view(OLD)), id="one system only"),
        pytest.param(
            seen(announced=("done", "confirmed"), after_cut=view(boots=1, confirmed="1-new"), recovered=boot("1.1")),
            id="the disk confirms what the console had confirmed",
        ),
        pytest.param(
            seen(promises=Promises(100_000, confirms=False), settled=boot("1.1", confirmed=False)),
            id="a device that never says that it confirms",
        ),
        pytest.param(seen(after_cut=view(filesystems=(DAMAGED,))), id="dirty before the device's own recovery"),
        pytest.param(seen(retries=(update(done=False), update())), id="the second of the next updates succeeds"),
        pytest.param(seen(retries=(), settled=None, after_retry=None), id="stopped after the boot"),
        pytest.param(seen(after_cut=None, after_boot=None, after_retry=None), id="console only"),
        pytest.param(
            seen(announced=("done",), after_cut=view(boots=1), recovered=boot("1.1"), after_boot=view(boots=1)),
            id="announced and done",
        ),
        pytest.param(seen(retries=(update("1.2"),), settled=boot("1.2")), id="the next update is the one after"),
    ],
)
def test_it_holds(good: Observation) -> None:
    verdict = atomicity(good)
    assert verdict, verdict
    assert verdict.outcome is Outcome.HOLDS


@pytest.mark.parametrize(
    ("bad", "reason", "evidence"),
    [
        pytest.param(
            seen(after_cut=view(problems=("grubenv: 512 bytes",))),
            "before any recovery the boot loader's files are damaged", "grubenv: 512 bytes",
            id="boot loader's files damaged",
        ),
        pytest.param(
            seen(after_cut=DiskView()), "before any recovery nothing can be booted", "", id="nothing can be booted"
        ),
        pytest.param(
            seen(after_cut=view(OLD, MIX, boots=1)),
            "before any recovery the system that boots next is a mix", "3 of 900 paths are not of 1.1",
            id="what boots is a mix",
        ),
        pytest.param(
            seen(after_cut=view(OLD, MIX)),
            "before any recovery the system that could boot is a mix", "/usr/bin/app: content differs",
            id="what could boot is a mix",
        ),
        pytest.param(
            seen(after_cut=view(OLD, FOREIGN)), "could boot is a mix", "no known release", id="a system of no release"
        ),
        pytest.param(
            seen(base="0.8"),
            "the boot loader would boot 1.0, not 0.8 or 1.1", "", id="the boot loader would boot another release",
        ),
        pytest.param(
            seen(after_cut=view(boots=None)), "the boot loader would boot none of its entries", "", id="no choice"
        ),
        pytest.param(
            seen(announced=("confirmed",), after_cut=view(boots=1, confirmed="0-old"), recovered=boot("1.1")),
            "the console had confirmed 1.1, but on the disk 1.0 is confirmed", "",
            id="the confirmation is not on the disk",
        ),
        pytest.param(
            seen(settled=boot("1.1", confirmed=False)), "was never confirmed", "",
            id="the next update is never confirmed",
        ),
        pytest.param(
            seen(after_retry=view(boots=1, objects=9, bad_objects=2, bad_examples=("aa.dirtree",))),
            "2 of 9 objects are damaged", "aa.dirtree", id="the next update leaves damaged objects",
        ),
        pytest.param(
            seen(rig_fault="the console went away", after_cut=view(OLD, MIX)), "could boot is a mix", "",
            id="a mix that was seen before the rig failed",
        ),
        pytest.param(
            seen(recovered=NOT_UP), "did not come up after the cut: expected 1.0 or 1.1", "GRUB: no such device",
            id="a brick",
        ),
        pytest.param(seen(recovered=boot("0.9")), "the device runs 0.9, not 1.0 or 1.1", "", id="another release runs"),
        pytest.param(
            seen(recovered=boot(None)), "the device runs None-commit, not 1.0 or 1.1", "", id="no known release runs"
        ),
        pytest.param(
            seen(recovered=boot(differing=1, differs=(ALIEN,))), "after the cut 1 paths are not of 1.0", "/usr/bin/app",
            id="what runs is a mix",
        ),
        pytest.param(
            seen(announced=("done",)), "had said that 1.1 is installed, but on the disk 1.0 boots next", "",
            id="done was not durable",
        ),
        pytest.param(
            seen(announced=("done",), after_cut=None), "had said that 1.1 is installed, but 1.0 came up", "",
            id="done was not durable, by the console",
        ),
        pytest.param(
            seen(announced=("done", "confirmed"), after_cut=None), "had confirmed 1.1, but 1.0 came up", "",
            id="confirmed was not durable, by the console",
        ),
        pytest.param(
            seen(after_boot=view(OLD, MIX)), "after the device's own recovery the system that could boot is a mix", "",
            id="a mix after recovery",
        ),
        pytest.param(
            seen(after_boot=view(filesystems=(DAMAGED,))), "after the device's own recovery a file system is damaged",
            "partition 2 (ext4): inode 12", id="a file system stays damaged",
        ),
        pytest.param(
            seen(retries=(update(done=False), update(done=False, says=("error: no space",)))),
            "the next update failed 2 times: this device can't be updated any more", "error: no space",
            id="it can never update again",
        ),
        pytest.param(seen(settled=NOT_UP), "did not come up after the next update", "GRUB", id="the next one bricks"),
        pytest.param(
            seen(settled=boot("1.0")), "the next update said done, but 1.0 runs, not 1.1", "",
            id="the next update is not what runs",
        ),
        pytest.param(
            seen(settled=boot("1.1", differing=2, differs=(ALIEN,))), "after the next update 2 paths are not of 1.1",
            "/usr/bin/app", id="the next update runs a mix",
        ),
        pytest.param(
            seen(after_retry=view(OLD, MIX)), "after the next update the system that could boot is a mix", "",
            id="the next update leaves a mix",
        ),
        pytest.param(
            seen(after_retry=view(filesystems=(DAMAGED,))), "after the next update a file system is damaged", "",
            id="the next update leaves a damaged file system",
        ),
    ],
)  # fmt: skip
def test_it_is_violated(bad: Observation, reason: str, evidence: str) -> None:
    verdict = atomicity(bad)
    assert verdict.outcome is Outcome.VIOLATED
    assert reason in verdict.reason
    assert evidence in "\n".join(verdict.evidence)


@pytest.mark.parametrize(
    ("unsure", "reason"),
    [
        pytest.param(seen(rig_fault="the PDU lied", cut=None), "the PDU lied", id="rig fault before the cut"),
        pytest.param(seen(rig_fault="the PDU lied", recovered=NOT_UP), "to blame", id="not up, and a rig fault"),
        pytest.param(
            seen(rig_fault="the PDU lied", recovered=None, after_boot=None, retries=(), settled=None, after_retry=None),
            "the PDU lied", id="rig fault after the cut",
        ),
        pytest.param(seen(cut=None), "the cut did not happen", id="no cut"),
        pytest.param(seen(rig_alive=False, recovered=NOT_UP), "the rig may be to blame", id="a dead rig after the cut"),
        pytest.param(
            seen(rig_alive=False, settled=NOT_UP), "the rig may be to blame", id="a dead rig after the next update"
        ),
        pytest.param(
            seen(rig_alive=False, settled=NOT_UP, retries=(update(done=False),)), "the rig may be to blame",
            id="a rig that died in the next update",
        ),
    ],
)  # fmt: skip
def test_it_is_inconclusive(unsure: Observation, reason: str) -> None:
    verdict = atomicity(unsure)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert reason in verdict.reason


def test_a_cut_that_did_not_happen_is_told_with_what_the_update_said() -> None:
    verdict = atomicity(seen(cut=None, updates=(update(says=("OTA: nothing to do",)),)))
    assert verdict.evidence == ("OTA: nothing to do",)


def test_what_the_disk_shows_counts_even_if_the_rig_died_later() -> None:
    verdict = atomicity(seen(after_cut=view(OLD, MIX), recovered=NOT_UP, rig_alive=False))
    assert verdict.outcome is Outcome.VIOLATED


def test_the_users_files_are_another_promise() -> None:
    assert atomicity(seen(recovered=boot(kept=((FILES[0][0], None),))))
