"""The virtual board in a real labgrid environment, with a blank disk: it boots to nothing, but it has power."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from labgrid import Environment

from powercut.disk.blocks import open_blocks
from powercut.errors import RigError, UsageError
from powercut.lab import PowercutQEMUDriver
from powercut.lab.protocol import CutProtocol

from .conftest import CLOCK, eventually, processes_that_name

Board = Callable[..., PowercutQEMUDriver]


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    """Makes an environment with one board, and gives its driver, activated."""
    monkeypatch.setenv("POWERCUT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "disk.img").write_bytes(bytes(1 << 20))
    with ExitStack() as ended:
        place = ended.enter_context(tempfile.TemporaryDirectory())  # tmp_path is too long for a socket's
        monkeypatch.setattr(tempfile, "tempdir", place)

        def make(**arguments: Any) -> PowercutQEMUDriver:
            driver = {"memory": "32M", "accel": "tcg", "network": False, "disks": [{"image": "disk.img"}], **arguments}
            file = tmp_path / "board.yaml"
            targets = {"main": {"drivers": {"PowercutQEMUDriver": driver}}}
            file.write_text(yaml.safe_dump({"targets": targets, "imports": ["powercut.lab"]}))
            environment = Environment(str(file))
            ended.callback(environment.cleanup)
            found = environment.get_target().get_driver(CutProtocol)
            assert isinstance(found, PowercutQEMUDriver)
            return found

        yield make


def test_power_is_given_and_taken(board: Board, tmp_path: Path) -> None:
    driver = board()
    assert not driver.get()
    driver.on()
    assert driver.get()
    assert len(processes_that_name(Path(tempfile.gettempdir()))) == 1
    driver.off()
    assert not driver.get()
    assert processes_that_name(Path(tempfile.gettempdir())) == []


def test_a_cycle_gives_a_fresh_process(board: Board, tmp_path: Path) -> None:
    driver = board()
    driver.on()
    first = processes_that_name(Path(tempfile.gettempdir()))
    driver.cycle()
    assert driver.get()
    assert processes_that_name(Path(tempfile.gettempdir())) != first


def test_starts_are_counted_from_a_mark_of_the_console_on(board: Board) -> None:
    driver = board()
    driver.on()
    driver.cycle()
    assert driver.starts(0) == 2
    mark = driver.reader.mark()
    before = driver.starts(mark)
    driver.cycle()
    assert (driver.starts(mark) - before, driver.starts(mark + 1)) == (1, 0)


def test_on_and_off_again_change_nothing(board: Board, tmp_path: Path) -> None:
    driver = board()
    driver.off()
    driver.on()
    first = processes_that_name(Path(tempfile.gettempdir()))
    driver.on()
    assert processes_that_name(Path(tempfile.gettempdir())) == first


def test_power_is_cut_from_another_thread_in_the_moment_in_which_it_is_asked_for(board: Board, tmp_path: Path) -> None:
    driver = board()
    driver.on()
    asked_s = CLOCK.now()
    thread = threading.Thread(target=driver.cut)
    thread.start()
    thread.join(10)
    off = driver.await_off()
    assert asked_s < off.asked_s < off.confirmed_s <= CLOCK.now()
    assert off.confirmed_s - asked_s < 1
    assert not driver.get()
    assert processes_that_name(Path(tempfile.gettempdir())) == []


def test_a_second_cut_tells_of_the_first(board: Board) -> None:
    driver = board()
    driver.on()
    driver.cut()
    first = driver.await_off()
    driver.cut()
    assert driver.await_off() == first


def test_who_waits_for_the_console_learns_of_a_cut(board: Board) -> None:
    driver = board()
    driver.on()
    threading.Timer(0.1, driver.cut).start()
    assert eventually(lambda: driver.reader.ended)


def test_nothing_is_left_of_it(board: Board, tmp_path: Path) -> None:
    driver = board()
    driver.on()
    assert driver.folder.parent == Path(tempfile.gettempdir())
    driver.target.deactivate(driver)
    assert processes_that_name(Path(tempfile.gettempdir())) == []
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_the_image_itself_is_never_written(board: Board, tmp_path: Path) -> None:
    before = (tmp_path / "disk.img").stat()
    driver = board()
    driver.on()
    driver.off()
    after = (tmp_path / "disk.img").stat()
    assert (after.st_mtime_ns, after.st_size) == (before.st_mtime_ns, before.st_size)


def test_a_disk_is_recorded_unless_it_can_not_be(board: Board) -> None:
    assert board().recorded
    assert not board(disks=[{"image": "disk.img", "device": "nvme"}]).recorded
    assert not board(disks=[{"image": "disk.img", "recorded": False}]).recorded


def test_a_state_that_was_inserted_is_the_disk_of_the_next_start(board: Board) -> None:
    driver = board()
    state = driver.image.fork()
    state.write(4096, b"crashed")
    driver.insert(state)
    driver.on()
    assert driver.before.read(4096, 7) == b"crashed"
    assert driver.image.read(4096, 7) == bytes(7)


def test_a_compressed_image_is_unpacked_once_into_the_cache(board: Board, tmp_path: Path) -> None:
    (tmp_path / "raw.img").write_bytes(b"boot".ljust(1 << 20, b"\0"))
    from powercut.lab.diskstack import stack

    stack(tmp_path / "disk.qcow2", tmp_path / "raw.img", "raw")
    first = board(disks=[{"image": "disk.qcow2"}]).base
    assert tmp_path / "cache" in first.parents
    assert board(disks=[{"image": "disk.qcow2"}]).base == first
    with open_blocks(first) as blocks:
        assert blocks.read(0, 4) == b"boot"


def test_equal_boards_have_equal_identities(board: Board) -> None:
    assert board().identity == board().identity
    assert board().identity != board(memory="64M").identity


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"disks": [{"image": "no.img"}]}, r"no\.img: no such image", id="missing image"),
        pytest.param({"disks": []}, "disks: no disk", id="no disk"),
        pytest.param({"disks": ["disk.img"]}, r"disks\[0\]: 'disk\.img' is no disk", id="not a mapping"),
        pytest.param({"disks": [{"image": "disk.img", "img": 1}]}, r"disks\[0\]: .* is no disk", id="unknown key"),
        pytest.param(
            {"disks": [{"image": "disk.img"}, {"image": "disk.img", "device": "nvme", "recorded": True}]},
            r"disks\[1\]: nvme can't be recorded soundly",
            id="nvme recorded",
        ),
        pytest.param({"qemu_bin": "qemu-system-abacus", "accel": "auto"}, "qemu-system-abacus", id="no such QEMU"),
    ],
)
def test_what_the_user_got_wrong_is_said(board: Board, tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        board(**arguments)
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_a_machine_that_can_not_start_leaves_the_board_off_and_nothing_running(board: Board, tmp_path: Path) -> None:
    driver = board(machine="toaster")
    with pytest.raises(RigError, match="unsupported machine type"):
        driver.on()
    assert not driver.get()
    assert processes_that_name(Path(tempfile.gettempdir())) == []
