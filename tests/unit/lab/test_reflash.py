"""Writing the base release onto a board: by labgrid's own drivers, or by a command of this host."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from powercut.environment import Reflash
from powercut.errors import RigError, UsageError
from powercut.lab.reflash import reflash


class Recorder:
    """Drivers and power that write down in one list what is asked of them."""

    def __init__(self) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.env = SimpleNamespace(
            config=SimpleNamespace(
                data={"images": {"golden": "golden.img"}},
                get_image_path=lambda name: f"/images/{name}.img",
                resolve_path=lambda path: f"/env/{path}",
            )
        )

    def __getattr__(self, name: str) -> Any:
        def note(*arguments: Any, **_: Any) -> Any:
            if name != "get":
                self.done.append((name, *[argument for argument in arguments if not isinstance(argument, Recorder)]))
            return {"stage": "tftp-file", "get": True}.get(name)

        return note

    def get_driver(self, kind: str, activate: bool = True) -> Any:
        self.done.append(("get_driver", kind))
        return self


def how(**ways: Any) -> Reflash:
    return Reflash(**ways)


def test_an_sd_card_is_written_while_the_board_is_off_and_given_back() -> None:
    parts: Any = Recorder()
    assert reflash(parts, how(sdmux="golden"), parts, "env") == "reflashed by sdmux"
    order = [step for step in parts.done if step[0] != "get_driver"]
    assert order[:3] == [("cut",), ("await_off",), ("set_mode", "host")]
    assert ("write_image", "/images/golden.img") in order
    assert order[-1] == ("set_mode", "dut")


def test_the_card_is_given_back_when_writing_fails() -> None:
    parts: Any = Recorder()

    def fail(_image: str) -> None:
        raise OSError("no card")

    parts.write_image = fail
    with pytest.raises(RigError, match="no card"):
        reflash(parts, how(sdmux="golden"), parts, "env")
    assert parts.done[-1] == ("set_mode", "dut")


def test_partitions_are_flashed_by_fastboot() -> None:
    parts: Any = Recorder()
    reflash(parts, how(fastboot={"boot": "golden", "root": "root.img"}), parts, "env")
    assert ("flash", "boot", "/images/golden.img") in parts.done
    assert ("flash", "root", "/env/root.img") in parts.done
    assert parts.done.index(("restore",)) < parts.done.index(("flash", "boot", "/images/golden.img"))


def test_the_boot_loader_fetches_what_tftp_offers() -> None:
    parts: Any = Recorder()
    reflash(parts, how(tftp="golden", uboot=("tftpboot $loadaddr {file}", "mmc write")), parts, "env")
    assert ("stage", "/images/golden.img") in parts.done
    assert ("run_check", "tftpboot $loadaddr tftp-file") in parts.done
    assert parts.done.index(("run_check", "mmc write")) > parts.done.index(("restore",))


def test_a_command_of_this_host_is_run_with_the_board_off(tmp_path: Path) -> None:
    parts: Any = Recorder()
    reflash(parts, how(command=f"echo written >{tmp_path}/out"), parts, "env")
    assert (tmp_path / "out").read_text() == "written\n"
    assert parts.done == [("cut",), ("await_off",)]


def test_a_command_that_fails_is_a_fault_of_the_rig_with_its_own_words() -> None:
    parts: Any = Recorder()
    with pytest.raises(RigError, match="ended with 3: no such board"):
        reflash(parts, how(command="echo no such board; exit 3"), parts, "env")


@pytest.mark.parametrize("ways", [{}, {"command": "true", "sdmux": "golden"}])
def test_there_is_exactly_one_way(ways: dict[str, Any]) -> None:
    parts: Any = Recorder()
    with pytest.raises(UsageError, match="ways to reflash"):
        reflash(parts, how(**ways), parts, "env")
    assert parts.done == []
