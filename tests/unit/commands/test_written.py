"""The environments that `powercut init` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from powercut.commands.init.questions import answered
from powercut.commands.init.written import environment
from powercut.lab.preflight import check_environment

from .answers import BOARD, DEVICE, QEMU

PLACE = DEVICE | {"console": "place", "place": "rack-3"}
RIGS = {
    "qemu": QEMU,
    "network": BOARD,
    "pdudaemon": DEVICE | {"power": "pdudaemon", "power_host": "pdu.lab", "power_pdu": "gude-1"},
    "usb": DEVICE | {"power": "usb", "power_hub": "pci-0000:00:14.0-usb-0:2:1.0", "power_index": "2"},
    "commands": DEVICE | {"power": "commands", "power_on": "relay on", "power_off": "relay 'off' # 3"},
    "place, network": PLACE,
    "place, pdudaemon": PLACE | {"power_kind": "pdudaemon"},
    "place, usb": PLACE | {"power_kind": "usb", "power_name": "hub"},
    "place, own commands": PLACE | {"power": "commands", "power_on": "relay on", "power_off": "relay off"},
    "place, own PDU": PLACE | {"power": "network", "power_model": "gude", "power_host": "pdu.lab"},
}


def written(folder: Path, answers: dict[str, str]) -> dict[str, Any]:
    """What `answers` make, after powercut has looked over it."""
    file = folder / "env.yaml"
    file.write_text(environment(answered(answers, None, print), file))
    check_environment(file)
    data = yaml.safe_load(file.read_text())
    target: dict[str, Any] = data["targets"]["main"]
    return target


@pytest.mark.parametrize("answers", RIGS.values(), ids=RIGS)
def test_each_kind_of_rig_passes_the_first_look(tmp_path: Path, answers: dict[str, str]) -> None:
    assert "powercut" in written(tmp_path, answers)["options"]


@pytest.mark.parametrize(
    "text", ["a: b", "- x", "# x", "'", '"', "{x}, [y]", "é → ü", "yes", "1.0", "null", "x " * 200, "\\", "%d", "&a *b"]
)
def test_whatever_is_answered_arrives(tmp_path: Path, text: str) -> None:
    commands = {"power": "commands", "power_on": text, "power_off": text}
    target = written(
        tmp_path, DEVICE | commands | {"update": text, "password": text, "base_version": text, "bind": text}
    )
    options = target["options"]["powercut"]
    assert target["drivers"]["ExternalPowerDriver"] == {"cmd_on": text, "cmd_off": text}
    assert (options["update"], options["releases"]["base"]["version"], options["origin"]["bind"]) == (text,) * 3
    assert target["drivers"]["ShellDriver"]["password"] == text


def test_what_was_not_answered_is_left_out(tmp_path: Path) -> None:
    target = written(tmp_path, BOARD)
    assert "password" not in target["drivers"]["ShellDriver"]
    assert "confirmed" not in target["options"]["powercut"]


def test_consent_is_what_was_said(tmp_path: Path) -> None:
    assert written(tmp_path, BOARD)["options"]["powercut"]["may_cut_power"] is False
    assert written(tmp_path, BOARD | {"may_cut_power": "yes"})["options"]["powercut"]["may_cut_power"] is True


def test_paths_count_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env").mkdir()
    file = Path("env/device.yaml")
    answers = answered(QEMU | {"repo": "releases/repo", "image": "/srv/disk.img"}, None, print)
    target = yaml.safe_load(environment(answers, file))["targets"]["main"]
    assert target["options"]["powercut"]["repo"] == "../releases/repo"
    assert target["drivers"]["PowercutQEMUDriver"]["disks"] == [{"image": "/srv/disk.img"}]
