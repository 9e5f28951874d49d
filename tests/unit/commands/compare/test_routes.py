"""The journeys, on a device of which only what is asked for is there: what they note, and what they leave out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from powercut.clients import Stored
from powercut.commands.compare.measure import cut_result
from powercut.commands.compare.routes import (
    Notebook,
    back_again,
    many_versions,
    past_a_release,
    two_updates,
    used_bytes,
)
from powercut.disk.blocks import Blocks
from powercut.journey import Journey
from powercut.model import (
    Boot,
    Cut,
    DiskView,
    Evidence,
    LossModel,
    Observation,
    Outcome,
    Promises,
    System,
    Update,
    Verdict,
)
from powercut.trial import Plan, Trial
from powercut.triggers import at

WAY = ("base", "next", "third", "fourth", "fifth")
# a partition table with two entries of 8 sectors
_TABLE = bytearray(64 * 512)
for _number, _start in ((0, 8), (1, 16)):
    _TABLE[446 + 16 * _number + 4] = 0x83
    _TABLE[446 + 16 * _number + 8 : 446 + 16 * _number + 16] = (_start).to_bytes(4, "little") + (8).to_bytes(
        4, "little"
    )
_TABLE[510:512] = b"\x55\xaa"


class Pretended:
    """A device that takes 4 s to be confirmed, and whose every version takes 10 blocks of 4096 bytes."""

    def __init__(self, *, slots: bool = False, fails: str = "", disk: bool = True) -> None:
        self.now, self.versions, self.fails, self.verdicts = 0.0, ["base"], fails, list[Verdict]()
        setup = SimpleNamespace(
            releases=dict.fromkeys(WAY),
            release=lambda role: SimpleNamespace(version=role, role=role, bundle=Path(__file__)),
            way=lambda: [SimpleNamespace(role=role) for role in WAY],
            accepted="HEALTH",
            slots=SimpleNamespace(A=1, B=2) if slots else None,
        )
        device = SimpleNamespace(
            disk=SimpleNamespace(image=Blocks(bytes(_TABLE))) if disk else None,
            said=lambda _pattern: SimpleNamespace(at_s=self.now),
        )
        self.rig = SimpleNamespace(
            client=SimpleNamespace(repository=None if slots else self),
            setup=setup,
            device=device,
            clock=SimpleNamespace(now=lambda: self.now),
        )

    def version(self, role: str) -> str:
        return role

    def judge(self, verdict: Verdict) -> bool:
        self.verdicts.append(verdict)
        return bool(verdict)

    def ask(self, command: str) -> Any:
        paths = command.partition("for p in ")[2].partition(";")[0].split() if "stat" in command else []
        free = 1000 - 10 * len(self.versions)
        return SimpleNamespace(text="\n".join(f"space {path} 65026 1000 {free} 4096" for path in paths))

    def must(self, _command: str) -> None:
        pass

    def _changed(self, role: str, sent: int) -> Update:
        if role == self.fails:
            return Update(role, False, 1, ("OTA: failed: no room",), 1.0, 0, 1)
        self.versions.append(role)
        return Update(role, True, 0, (), 2.0, sent, 1)

    def update(self, role: str) -> Update:
        return self._changed(role, 500)

    def downgrade(self, role: str) -> Update:
        return self._changed(role, 700)

    def roll_back(self, role: str) -> Update:
        self.now += 1.0
        return self._changed(role, 0)

    def restart(self) -> Boot:
        self.now += 4.0
        return Boot("boot", self.versions[-1], None, True, 5.0)

    def keep_versions(self, number: int) -> None:
        assert number == len(WAY)

    def keeps(self, role: str) -> bool:
        return role in self.versions

    def stored(self) -> Stored:
        return Stored(0, {f"{role}.file": (1, 40_000) for role in self.versions}, {}, (), ())

    def objects(self, *roles: str) -> dict[str, int]:
        return {f"{role}.file": 900 for role in roles}

    def need_bytes(self, _role: str) -> int:
        return 20_480

    @contextmanager
    def space(self) -> Iterator[Callable[[], int]]:
        yield lambda: 900 * 4096

    def written(self) -> int:
        return 0

    def written_bytes(self, _since: int) -> int:
        return 3_000


def travelled(route: Callable[[Notebook, Journey], None], device: Pretended) -> Notebook:
    book = Notebook()
    route(book, cast(Journey, device))
    return book


def test_two_updates_give_the_figures_of_each() -> None:
    book = travelled(two_updates, Pretended())
    assert book.value("fetched.next") == book.value("fetched.third") == 500
    assert book.value("written.third") == 3_000
    assert book.value("service.next") == 4.0
    assert book.value("took.next") == 2.0
    assert book.value("content.next") == 900
    assert book.value("peak.next") == 90 * 4096
    assert book.value("back.fetched") == 700
    assert (book.value("partitions"), book.value("shared")) == (2, 1)


def test_file_systems_that_are_one_are_counted_once() -> None:
    book = travelled(two_updates, Pretended())
    assert (book.value("space.1"), book.value("space.2")) == (10 * 4096, 20 * 4096)
    assert book.value("space.added") == 10 * 4096
    assert book.value("cost") == 10 * 4096 / 20_480


def test_what_is_left_of_the_first_release_is_counted() -> None:
    assert travelled(two_updates, Pretended()).value("collected") == 40_000  # this device collects nothing


def test_two_slots_take_the_size_of_both() -> None:
    book = travelled(two_updates, Pretended(slots=True))
    assert book.value("space.2") == 2 * 8 * 512
    assert str(book.figures["space.2"]).endswith("(by nature)")
    assert "collected" not in book.figures
    assert book.value("content.next") == Path(__file__).stat().st_size


def test_an_update_that_fails_is_judged_and_its_words_are_the_reason() -> None:
    device = Pretended(fails="third")
    book = travelled(two_updates, device)
    assert device.verdicts[-1].outcome is Outcome.VIOLATED
    assert book.value("fetched.next") == 500
    assert "no room" in str(book.figures["fetched.third"])
    assert "back.fetched" not in book.figures


def test_a_release_that_is_refused_as_older_is_missing_and_no_violation() -> None:
    device = Pretended(fails="base")
    book = travelled(two_updates, device)
    assert all(device.verdicts)
    assert "failed with 1" in str(book.figures["back.fetched"])


def test_a_disk_that_is_not_recorded_has_no_figures_of_its_log() -> None:
    book = travelled(two_updates, Pretended(disk=False))
    assert "not recorded" in str(book.figures["written.next"])
    assert "not recorded" in str(book.figures["partitions"])


def test_a_release_past_the_next_is_one_step() -> None:
    assert travelled(past_a_release, Pretended()).value("fetched.skip") == 500


def test_versions_that_are_kept_are_counted_by_what_is_there() -> None:
    book = travelled(many_versions, Pretended())
    assert book.value("kept") == 5
    assert (book.value("space.3"), book.value("space.5")) == (30 * 4096, 50 * 4096)


def test_a_version_that_does_not_fit_is_missing_and_the_ones_before_stay() -> None:
    book = travelled(many_versions, Pretended(fails="fourth"))
    assert book.value("kept") == 3
    assert "no room" in str(book.figures["space.5"])


def test_the_way_back_ends_when_it_is_confirmed() -> None:
    device = Pretended()
    device.versions.append("next")
    book = travelled(back_again, device)
    assert (book.value("rollback.command"), book.value("rollback")) == (2.0, 5.0)


def trial(tmp_path: Path, **seen: Any) -> Trial:
    plan = Plan("a cut", "next", at.fraction(0.5), LossModel.NONE, "7")
    return Trial(plan, Observation("1.0", "1.1", Evidence.DISK, Promises(0), **seen), tmp_path)


WHOLE, HALF = System(0, "a.0", "1.0"), System(0, "b.0", None)
UP = Boot("boot", "1.0", None, True, 5.0)
CUT = Cut("fraction:0.5", None, 100)


@pytest.mark.parametrize(
    ("systems", "boot", "good"),
    [((HALF, WHOLE), UP, True), ((HALF,), UP, False), ((WHOLE,), Boot(None, None, None, False, 0.0), False)],
)
def test_a_known_good_image_is_one_that_is_whole_and_comes_up(
    systems: tuple[System, ...], boot: Boot, good: bool, tmp_path: Path
) -> None:
    seen = trial(tmp_path, cut=CUT, after_cut=DiskView(systems=systems), recovered=boot)
    assert cut_result("a cut", seen).known_good is good


def test_a_fault_of_the_rig_says_nothing_of_the_device(tmp_path: Path) -> None:
    found = cut_result("a cut", trial(tmp_path, cut=CUT, recovered=UP, rig_fault="QEMU is gone\n  to do: look"))
    assert (found.known_good, found.fault) == (None, "QEMU is gone")
    assert found.outcome is Outcome.INCONCLUSIVE


def test_a_cut_that_did_not_happen_is_none(tmp_path: Path) -> None:
    assert "did not happen" in (cut_result("a cut", trial(tmp_path)).fault or "")


def test_a_root_that_is_made_of_memory_is_not_taken_for_the_systems() -> None:
    told = {
        "/": "space / 1 100 50 4096",
        "/usr": "space /usr 65026 1000 990 4096",
        "/boot": "space /boot 65027 10 5 4096",
    }

    def answer(command: str) -> Any:
        return SimpleNamespace(text="\n".join(told[path] for path in command.split() if path in told))

    device: Any = SimpleNamespace(ask=lambda command: answer(command.replace(";", " ")))
    assert used_bytes(device) == (10 + 5) * 4096
