"""Power drivers described in one process and built again in another."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from labgrid import Environment, Target
from labgrid.protocol import PowerProtocol

from powercut.lab.parts import described, place_of, rebuilt

PARTS = {
    "network": (
        "NetworkPowerPort: {model: gude, host: pdu.lab, index: 3}",
        "NetworkPowerDriver: {delay: 1.0}",
    ),
    "pdudaemon": ("PDUDaemonPort: {host: lab, pdu: apc1, index: 2}", "PDUDaemonDriver: {}"),
    "a switched hub of this host": ("USBPowerPort: {match: {ID_PATH: x}, index: 1}", "USBPowerDriver: {}"),
    "a relay of this host": (
        "HIDRelay: {match: {ID_PATH: x}, index: 1}",
        "HIDRelayDriver: {}\n      DigitalOutputPowerDriver: {delay: 0.5}",
    ),
    "a hub of an exporter": (
        "NetworkUSBPowerPort: {host: lab, busnum: 1, devnum: 2, path: '1-2', vendor_id: 1, model_id: 2, index: 1}",
        "USBPowerDriver: {}",
    ),
    "commands": ("{}", "ExternalPowerDriver: {cmd_on: 'true', cmd_off: 'false'}"),
}


def target_with(folder: Path, resources: str, drivers: str) -> Target:
    file = folder / "env.yaml"
    given = resources if resources == "{}" else f"\n      {resources}"
    file.write_text(f"targets:\n  main:\n    resources: {given}\n    drivers:\n      {drivers}\n")
    return Environment(str(file)).get_target()


@pytest.mark.parametrize("kind", PARTS)
def test_a_driver_survives_the_way_into_another_process(tmp_path: Path, kind: str) -> None:
    power = target_with(tmp_path, *PARTS[kind]).get_driver(PowerProtocol, activate=False)
    carried = json.loads(json.dumps(described(power)))
    again = rebuilt(carried, Target("again", env=power.target.env))
    assert type(again) is type(power)
    assert described(again) == carried


def test_two_ports_are_told_apart_by_their_names(tmp_path: Path) -> None:
    ports = (
        "- NetworkPowerPort: {name: first, model: gude, host: a, index: 1}\n"
        "    - NetworkPowerPort: {name: second, model: gude, host: b, index: 2}"
    )
    file = tmp_path / "env.yaml"
    file.write_text(
        f"targets:\n  main:\n    resources:\n    {ports}\n"
        "    drivers: {NetworkPowerDriver: {bindings: {port: second}}}\n"
    )
    power = Environment(str(file)).get_target().get_driver(PowerProtocol, activate=False)
    assert rebuilt(described(power), Target("again")).port.host == "b"


def test_a_port_of_this_host_is_of_no_place(tmp_path: Path) -> None:
    power = target_with(tmp_path, *PARTS["network"]).get_driver(PowerProtocol, activate=False)
    assert place_of(power) is None


def test_a_port_of_a_remote_place_is_known_by_the_place_that_was_given(tmp_path: Path) -> None:
    power = target_with(tmp_path, *PARTS["network"]).get_driver(PowerProtocol, activate=False)
    given = SimpleNamespace(get_place=lambda name: SimpleNamespace(name={"+": "rack-7"}[name]))
    power.port.parent = SimpleNamespace(name="+", manager=SimpleNamespace(session=given))
    assert place_of(power) == "rack-7"
