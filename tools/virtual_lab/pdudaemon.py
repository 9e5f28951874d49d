"""The real pdudaemon in front of the outlets, each of which it takes for a Tasmota plug."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .pdu_http import HTTPFront
from .ports import HOST, Port
from .processes import Program


def pdudaemon(fronts: Iterable[HTTPFront], port: Port, folder: Path, commands: Path) -> Program:
    """A program to start. One attempt each: a repeated one could switch long after it was asked for."""
    config = folder / "pdudaemon.conf"
    daemon = {"hostname": HOST, "port": port.number, "listener": "http", "logging_level": "INFO"}
    pdus = {front.port.address: {"driver": "sonoff_s20_tasmota", "retries": 1} for front in fronts}
    config.write_text(json.dumps({"daemon": daemon, "pdus": pdus}, indent=1))
    return Program("pdudaemon", [str(commands / "pdudaemon"), "--conf", str(config)], folder, {"PYTHONUNBUFFERED": "1"})
