"""The run: what was measured is kept whatever comes after, and whose fault that is stays apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from powercut.commands.compare import series
from powercut.commands.compare.figures import Comparison, Family, Measured
from powercut.commands.compare.series import Asked, check_releases, compare, names_of
from powercut.commands.compare.written import read
from powercut.errors import RigError, UsageError
from powercut.model import LossModel

from .devices import ostree, rauc

ENV = Path(__file__).parents[4] / "env"
EMPTY = Comparison("0.1.0", "7", False)


def asked(out: Path, *names: str) -> Asked:
    files = [ENV / f"{name}.yaml" for name in names]
    return Asked(names_of(files), "main", out, "7", False, LossModel.CACHE, 5.0)


def silent(_text: str) -> None:
    pass


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `one` comes to for each environment: a device, or what it raises."""
    told: dict[str, Any] = {}

    def one(_asked: Asked, name: str, _file: Path, _say: object) -> Measured:
        found = told[name]
        if isinstance(found, BaseException):
            raise found
        assert isinstance(found, Measured)
        return found

    monkeypatch.setattr(series, "one", one)
    return told


def test_all_files_are_written(measuring: dict[str, Any], tmp_path: Path) -> None:
    measuring |= {"qemu-ostree": ostree(), "qemu-rauc": rauc()}
    found, lab_failed = compare(asked(tmp_path, "qemu-ostree", "qemu-rauc"), EMPTY, silent)
    assert not lab_failed
    assert read(tmp_path / "compare.json") == found
    assert "qemu-rauc: rauc 1.8" in (tmp_path / "table.md").read_text()
    assert "qemu-rauc" in (tmp_path / "compare.html").read_text()


@pytest.mark.parametrize("fault", [AssertionError("our bug"), UsageError("a", "b", "c"), KeyboardInterrupt()])
def test_what_was_measured_before_is_kept(fault: BaseException, measuring: dict[str, Any], tmp_path: Path) -> None:
    measuring |= {"qemu-ostree": ostree(), "qemu-rauc": fault}
    with pytest.raises(type(fault)):
        compare(asked(tmp_path, "qemu-ostree", "qemu-rauc"), EMPTY, silent)
    assert read(tmp_path / "compare.json").devices == (ostree(),)
    assert (tmp_path / "compare.html").exists()


def test_a_part_in_which_the_lab_failed_is_told_in_the_end(measuring: dict[str, Any], tmp_path: Path) -> None:

    measuring |= {"qemu-ostree": replace(ostree(), inconclusive=("back again: QEMU is gone",))}
    _, lab_failed = compare(asked(tmp_path, "qemu-ostree"), EMPTY, silent)
    assert lab_failed


@pytest.fixture
def attached(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A rig that comes up, and what measuring it comes to."""
    told = SimpleNamespace(rig=None, raises=None)

    @contextmanager
    def attach(_target: object, lifeline: int | None = None) -> Iterator[Any]:
        if isinstance(told.rig, Exception):
            raise told.rig
        yield told.rig

    def measure(_bench: object) -> None:
        if told.raises is not None:
            raise told.raises

    monkeypatch.setattr(series, "attach", attach)
    monkeypatch.setattr(series, "measure", measure)
    return told


def rig(repository: object = None) -> Any:
    setup = SimpleNamespace(update="rauc install", refetch_at_most_bytes=1, releases={})
    power = SimpleNamespace(place="rack-7")
    client = SimpleNamespace(name="rauc", repository=repository)
    return SimpleNamespace(client=client, setup=setup, device=SimpleNamespace(disk=None, power=power))


def test_a_rig_that_does_not_come_up_leaves_its_reason_in_every_row(attached: SimpleNamespace, tmp_path: Path) -> None:
    attached.rig = RigError("QEMU did not start", "rig", "look")
    found, lab_failed = compare(asked(tmp_path, "qemu-rauc-stock", "qemu-ostree"), EMPTY, silent)
    assert lab_failed
    assert [device.family for device in found.devices] == [Family.SLOTS, Family.OBJECTS]
    assert found.devices[0].client == "rauc"
    assert "QEMU did not start" in (found.devices[0].fault or "")
    assert "QEMU did not start" in str(found.devices[0]["fetched.next"])


def test_a_rig_that_breaks_in_the_middle_keeps_what_was_measured(attached: SimpleNamespace, tmp_path: Path) -> None:
    attached.rig, attached.raises = rig(), RigError("QEMU is gone", "rig", "look")
    found, lab_failed = compare(asked(tmp_path, "qemu-rauc"), EMPTY, silent)
    assert lab_failed
    assert found.devices[0].command == "rauc install"
    assert "QEMU is gone" in str(found.devices[0]["fetched.next"])
    assert found.devices[0]["kept"].value == 2


@pytest.mark.parametrize("fault", [AssertionError("our bug"), UsageError("no third", "x.yaml", "name it")])
def test_a_bug_and_a_wrong_environment_are_no_fault_of_the_lab(
    fault: Exception, attached: SimpleNamespace, tmp_path: Path
) -> None:
    attached.rig, attached.raises = rig(), fault
    with pytest.raises(type(fault)):
        compare(asked(tmp_path, "qemu-rauc"), EMPTY, silent)


def test_a_release_that_is_not_there_is_found_before_any_device_is_started(tmp_path: Path) -> None:
    text = (ENV / "qemu-rauc.yaml").read_text().replace("../build/", f"{tmp_path}/")
    (tmp_path / "mine.yaml").write_text(text)
    mine = Asked({"mine": tmp_path / "mine.yaml"}, "main", tmp_path, "7", False, LossModel.CACHE, 5.0)
    with pytest.raises(UsageError, match=r"1\.0\.raucb"):
        check_releases(mine)
    with pytest.raises(UsageError, match="no target 'other'"):
        check_releases(replace(mine, target="other"))


def test_two_environments_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="qemu-rauc"):
        names_of([ENV / "qemu-rauc.yaml", Path("/elsewhere/qemu-rauc.yaml")])
