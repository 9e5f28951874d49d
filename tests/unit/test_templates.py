"""The environments in env/: each stands as it is, and the templates for boards say how they are wired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from labgrid import Environment, Target
from labgrid.driver import USBSDMuxDriver, USBStorageDriver

from powercut.environment import Setup, read_setup
from powercut.errors import UsageError
from powercut.lab import PowercutBoardDriver, PowercutSerialDriver
from powercut.lab.places import wanted_of
from powercut.lab.preflight import check_environment

ENV = Path(__file__).parents[2] / "env"
FILES = [pytest.param(file, id=file.stem) for file in sorted(ENV.glob("*.yaml"))]
BOARDS = [pytest.param(file, id=file.stem) for file in sorted(ENV.glob("board-*.yaml"))]
# what the place of the template offers, by the comments in it
OFFERED = [
    {"cls": "NetworkSerialPort", "host": "exporter", "port": 2000},
    {"cls": "NetworkPowerPort", "name": "power", "model": "gude24", "host": "pdu-1.lab.example", "index": 7},
    {"cls": "NetworkPowerPort", "name": "monitor", "model": "gude24", "host": "pdu-1.lab.example", "index": 8},
]


def main_of(file: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(file.read_text())["targets"]["main"]
    return loaded


def setup_of(file: Path) -> Setup:
    return read_setup(main_of(file)["options"]["powercut"], str(file), ENV)


def comments(file: Path) -> str:
    """What stands before the first key, as one line."""
    head = file.read_text().partition("\ntargets:")[0]
    return " ".join(line.removeprefix("#").strip() for line in head.splitlines())


def without_a_coordinator(file: Path, folder: Path) -> Path:
    """The environment with what its place offers, in place of the place."""
    loaded = yaml.safe_load(file.read_text())
    main = loaded["targets"]["main"]
    if "RemotePlace" in main["resources"]:
        main["resources"] = [dict(resource) for resource in OFFERED]
    copy = folder / file.name
    copy.write_text(yaml.safe_dump(loaded, sort_keys=False))  # labgrid makes drivers in their order
    return copy


def target_of(file: Path, folder: Path) -> Target:
    target = Environment(str(without_a_coordinator(file, folder))).get_target("main")
    assert target is not None
    return target


@pytest.mark.parametrize("file", FILES)
def test_an_environment_stands_the_first_look_as_it_is(file: Path) -> None:
    check_environment(file)


@pytest.mark.parametrize("file", BOARDS)
def test_labgrid_makes_all_parts_of_a_board_and_binds_them(file: Path, tmp_path: Path) -> None:
    target = target_of(file, tmp_path)

    made = [target.get_driver(name, activate=False) for name in main_of(file)["drivers"]]
    assert [type(driver).__name__ for driver in made] == list(main_of(file)["drivers"])
    board = target.get_driver(PowercutBoardDriver, activate=False)
    assert board.console is target.get_driver(PowercutSerialDriver, activate=False)
    assert board.power in made


def test_the_remote_place_binds_the_power_port_that_it_names(tmp_path: Path) -> None:
    board = target_of(ENV / "board-remote-place.yaml", tmp_path).get_driver(PowercutBoardDriver, activate=False)
    assert board.power.port.name == "power"


def test_the_remote_place_asks_for_places_by_their_tags() -> None:
    wanted = wanted_of(ENV / "board-remote-place.yaml", "127.0.0.1:20408")
    assert wanted is not None
    assert dict(wanted.tags) == {"board": "imx8mm-evk"}


def test_the_raspberry_pi_writes_the_card_that_its_mux_switches(tmp_path: Path) -> None:
    target = target_of(ENV / "board-raspberrypi-usbsdmux.yaml", tmp_path)
    mux = target.get_driver(USBSDMuxDriver, activate=False)
    assert target.get_driver(USBStorageDriver, activate=False).storage is mux.mux


@pytest.mark.parametrize("file", BOARDS)
def test_a_board_says_that_its_power_may_be_cut_and_where_it_finds_the_origin(file: Path) -> None:
    setup = setup_of(file)
    assert setup.may_cut_power
    assert not setup.origin.bind.startswith("127.")
    assert "{url}" in setup.update


@pytest.mark.parametrize("file", BOARDS)
def test_a_board_goes_back_to_its_base_by_a_command_that_takes_older_releases(file: Path) -> None:
    setup = setup_of(file)
    assert "ostree admin upgrade" not in (setup.reinstall or setup.update)


@pytest.mark.parametrize("file", BOARDS)
def test_a_board_says_how_it_is_wired_and_what_goes_wrong(file: Path) -> None:
    said = comments(file)
    words = ("Wiring", "console  ", "power  ", "network  ", "Traps", "TX", "HDMI", "apacitors", "docs/boards.md")
    assert [word for word in words if word not in said] == []


# shown red once


def test_a_template_with_a_slip_is_found(tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text((ENV / "board-uboot-pdu.yaml").read_text().replace("NetworkPowerDriver", "NetworkPowrDriver"))
    with pytest.raises(UsageError, match="did you mean 'NetworkPowerDriver'"):
        check_environment(file)


def test_a_driver_that_stands_before_what_it_is_bound_to_is_named(tmp_path: Path) -> None:
    text = (ENV / "board-uboot-pdu.yaml").read_text()
    data = yaml.safe_load(text)
    drivers = data["targets"]["main"]["drivers"]
    first = {"PowercutBoardDriver": drivers.pop("PowercutBoardDriver")}
    data["targets"]["main"]["drivers"] = {**first, **drivers}
    file = tmp_path / "board.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    with pytest.raises(UsageError, match=r"it stands before .*, which it is bound to"):
        check_environment(file)
