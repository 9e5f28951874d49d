"""The folder of one run: gone with it, and swept when it could not tidy up."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path

import pytest

from powercut.clock import MonotonicClock
from powercut.lab.rundir import PREFIX, run_folder, sweep

from .conftest import Fork, eventually, kill


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files, for this test alone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def live_for_ever() -> None:
    with run_folder() as folder:
        (folder / "disk.qcow2").write_bytes(bytes(100))
        MonotonicClock().rest(60)


def disks(temporary: Path) -> list[Path]:
    return list(temporary.glob(f"{PREFIX}*/disk.qcow2"))


def test_a_run_has_a_folder_that_is_gone_afterwards(temporary: Path) -> None:
    with run_folder() as folder:
        (folder / "disk.qcow2").write_bytes(bytes(100))
        assert folder.parent == temporary
    assert list(temporary.iterdir()) == []


def test_a_run_that_fails_leaves_no_folder(temporary: Path) -> None:
    with pytest.raises(RuntimeError), run_folder():
        raise RuntimeError
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_killed_run_goes_with_the_next(temporary: Path, fork: Fork) -> None:
    run = fork(live_for_ever)
    assert eventually(lambda: disks(temporary))
    kill(run)
    with run_folder():
        assert disks(temporary) == []


def test_the_folder_of_a_live_run_stays(temporary: Path, fork: Fork) -> None:
    fork(live_for_ever)
    assert eventually(lambda: disks(temporary))
    assert sweep() == 0
    with run_folder():
        assert len(disks(temporary)) == 1


def test_a_run_does_not_sweep_itself(temporary: Path) -> None:
    with run_folder() as folder:
        assert sweep() == 0
        assert folder.is_dir()


def test_a_run_that_is_about_to_begin_is_not_swept(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, swept = fcntl.flock, []

    def swept_in_between(file: object, operation: int) -> None:
        """Another worker sweeps in the moment before the lock is taken."""
        monkeypatch.setattr(fcntl, "flock", lock)
        swept.append(sweep())
        lock(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", swept_in_between)
    with run_folder() as folder:
        assert swept == [0]
        assert folder.is_dir()


def test_what_is_not_ours_is_not_swept(temporary: Path) -> None:
    (temporary / "powercut-other").mkdir()
    (temporary / f"{PREFIX}unlocked").mkdir()
    assert sweep() == 0
    assert len(list(temporary.iterdir())) == 2
