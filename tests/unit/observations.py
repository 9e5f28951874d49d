"""Observations as a trial makes them: one that keeps every promise, and what turns it into one that doesn't."""

from __future__ import annotations

from dataclasses import replace

from powercut.disk.blocks import Blocks
from powercut.model import (
    Boot,
    Cut,
    DiskView,
    Evidence,
    Fetched,
    FileSystem,
    Loss,
    LossModel,
    Observation,
    PathDiff,
    PowerOff,
    Promises,
    System,
    Update,
)
from powercut.trial import Recording

OLD = System(entry=0, deployment="0-old", release="1.0", paths=900)
NEW = System(entry=1, deployment="1-new", release="1.1", paths=900)
MIX = replace(NEW, differing=3, differs=(PathDiff("/usr/bin/app", "content differs"),))
FOREIGN = replace(NEW, release=None)
CLEAN = FileSystem(partition=2, kind="ext4", clean=True)
DAMAGED = FileSystem(partition=2, kind="ext4", clean=False, says=("inode 12 has a bad extent",))
FILES = (("/etc/app/user.conf", "written by the user"), ("/var/lib/app/data", "two\nlines"))


def loss(**found: object) -> Loss:
    values = {
        "model": LossModel.CACHE, "seed": "7", "records": 40, "flushes": 3, "volatile": 9, "lost": 4, "torn": 0,
        "trivial": False, **found,
    }  # fmt: skip
    return Loss(**values)  # type: ignore[arg-type]


def view(*systems: System, boots: int | None = 0, **found: object) -> DiskView:
    found = {"filesystems": (CLEAN,), "kept": FILES, **found}
    return DiskView(systems or (OLD, NEW), boots, **found)  # type: ignore[arg-type]


def boot(release: str | None = "1.0", **found: object) -> Boot:
    found = {"boot_id": "b1", "commit": f"{release}-commit", "confirmed": True, "boot_s": 7.0, "kept": FILES, **found}
    return Boot(release=release, **found)  # type: ignore[arg-type]


def update(to: str = "1.1", **found: object) -> Update:
    found = {
        "done": True, "exit_code": 0, "says": ("OTA: done",), "took_s": 3.0, "sent_bytes": 700, "requests": 9, **found,
    }  # fmt: skip
    return Update(to=to, **found)  # type: ignore[arg-type]


BLANK = Recording((), 0, None, Blocks(bytes(4096)), Blocks(bytes(4096)))
OFF = PowerOff(asked_s=10.0, acknowledged_s=10.1, last_life_s=10.05, confirmed_s=10.1, by=("the process is reaped",))
CUT = Cut("fraction:0.5", OFF, sent_bytes=2_000_000, losses=(loss(),))
GOOD = Observation(
    base="1.0",
    to="1.1",
    evidence=Evidence.DISK,
    promises=Promises(refetch_at_most_bytes=100_000),
    cut=CUT,
    after_cut=view(),
    recovered=boot(),
    after_boot=view(),
    retries=(update(),),
    settled=boot("1.1"),
    after_retry=view(boots=1),
    fetched=Fetched(before=2_000_000, after=2_050_000, whole=4_000_000),
    kept=FILES,
    console_tail=("Booting", "GRUB: no such device"),
)


def seen(**found: object) -> Observation:
    """`GOOD`, but for what is given."""
    return replace(GOOD, **found)  # type: ignore[arg-type]
