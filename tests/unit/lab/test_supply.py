"""Switching power through labgrid's own driver in a process that can be killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from labgrid import Environment
from labgrid.protocol import PowerProtocol

from powercut.clock import MonotonicClock, poll
from powercut.errors import RigError
from powercut.lab import left_behind
from powercut.lab.parts import described
from powercut.lab.powerhelper import NO_READ_BACK
from powercut.lab.supply import Supply

CLOCK = MonotonicClock()
Make = Callable[..., Supply]


@pytest.fixture
def told(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What a helper is told about the power driver of an environment."""

    def told(driver: str, resources: str = "{}", rest: str | None = "on") -> dict[str, Any]:
        file = tmp_path / "env.yaml"
        file.write_text(f"targets: {{main: {{resources: {resources}, drivers: {driver}}}}}")
        power = Environment(str(file)).get_target().get_driver(PowerProtocol, activate=False)
        return {"environment": str(file), "target": "main", "driver": described(power), "rest": rest, "limit_s": 5}

    return told


@pytest.fixture
def supply(told: Callable[..., dict[str, Any]]) -> Iterator[Make]:
    """Makes an open supply of a driver."""
    made: list[Supply] = []

    def make(driver: str, resources: str = "{}", rest: str | None = "on") -> Supply:
        made.append(Supply(told(driver, resources, rest), "the supply", CLOCK))
        made[-1].open()
        return made[-1]

    yield make
    for supply in made:
        supply.close()


def switching(folder: Path, off: str = "true") -> str:
    """labgrid's ExternalPowerDriver, whose commands write down what they were told."""
    state = folder / "state"
    (folder / "on.sh").write_text(f"#!/bin/sh\necho on >>{state}\n")
    (folder / "off.sh").write_text(f"#!/bin/sh\necho off >>{state}\n{off}\n")
    for script in folder.glob("*.sh"):
        script.chmod(0o755)
    return f"{{ExternalPowerDriver: {{cmd_on: {folder}/on.sh, cmd_off: {folder}/off.sh}}}}"


def states(folder: Path) -> list[str]:
    file = folder / "state"
    return file.read_text().split() if file.exists() else []


def test_an_order_is_carried_out_by_labgrids_driver_and_says_when(supply: Make, tmp_path: Path) -> None:
    power = supply(switching(tmp_path))
    order = power.order("off")
    answer = power.wait(order, 10)
    assert answer.fault is None
    assert order.asked_s < answer.began_s < answer.ended_s < CLOCK.now()
    assert states(tmp_path) == ["off"]


def test_a_supply_that_can_not_be_read_back_says_so(supply: Make, tmp_path: Path) -> None:
    answer = supply(switching(tmp_path)).must("get", 10)
    assert (answer.value, answer.fault) == (None, NO_READ_BACK)


def test_a_supply_that_hangs_is_given_up_in_time_and_works_again(supply: Make, tmp_path: Path) -> None:
    hanging = tmp_path / "hang"
    hanging.touch()
    power = supply(switching(tmp_path, off=f"[ ! -e {hanging} ] || exec sleep 60"))
    began_s = CLOCK.now()
    with pytest.raises(RigError, match=r"no answer to 'off' in 1 s"):
        power.must("off", 1)
    assert CLOCK.now() - began_s < 5
    hanging.unlink()
    assert power.must("off", 20).fault is None


def test_what_a_supply_says_of_its_failure_is_passed_on(supply: Make, tmp_path: Path) -> None:
    power = supply(switching(tmp_path, off="echo no such outlet; exit 3"))
    with pytest.raises(RigError, match=r"'off' failed: .*CalledProcessError"):
        power.must("off", 10)


@pytest.mark.parametrize(("rest", "expected"), [("on", ["off", "on"]), ("off", ["off", "off"]), (None, ["off"])])
def test_power_is_left_as_it_should_be_left(
    supply: Make, tmp_path: Path, rest: str | None, expected: list[str]
) -> None:
    power = supply(switching(tmp_path), rest=rest)
    power.must("off", 10)
    power.close(gracefully=True)
    assert states(tmp_path) == expected


def test_power_comes_back_when_whoever_cut_it_is_killed(told: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal
        from powercut.clock import MonotonicClock
        from powercut.lab.supply import Supply
        power = Supply({told(switching(tmp_path))!r}, "x", MonotonicClock())
        power.open()
        power.must("off", 10)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    killed = subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert poll(lambda: states(tmp_path) == ["off", "on"], CLOCK, limit_s=10)


def test_an_order_that_was_given_up_is_not_carried_out_later(supply: Make, tmp_path: Path) -> None:
    power = supply(switching(tmp_path, off=f"sleep 2; echo late >>{tmp_path}/state"))
    with pytest.raises(RigError, match="no answer to 'off' in 1 s"):
        power.must("off", 1)
    power.must("on", 20)
    CLOCK.rest(2.5)
    assert states(tmp_path) == ["off", "on"]


def test_power_comes_back_and_nothing_stays_when_whoever_waits_for_a_hanging_supply_is_killed(
    told: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    reads, writes = os.pipe()
    description = {**told(switching(tmp_path, off="exec sleep 60")), "limit_s": 2}
    script = textwrap.dedent(f"""
        import os, signal
        from powercut.clock import MonotonicClock
        from powercut.lab.supply import Supply
        power = Supply({description!r}, "x", MonotonicClock(), lifeline={writes})
        power.open()
        power.order("off")
        MonotonicClock().rest(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    subprocess.run([sys.executable, "-c", script], timeout=60, check=False, pass_fds=[writes])
    os.close(writes)
    assert poll(lambda: states(tmp_path) == ["off", "on"], CLOCK, limit_s=10)
    readable, _, _ = select.select([reads], [], [], 10)
    assert readable, "somebody still holds the lifeline"
    assert os.read(reads, 1) == b""
    os.close(reads)


def failing_on(folder: Path) -> str:
    """An outlet that can be switched off, and not on."""
    driver = switching(folder)
    (folder / "on.sh").write_text("#!/bin/sh\nexit 5\n")
    return driver


def test_a_supply_that_fails_when_power_should_be_left_in_order_is_told(
    supply: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERCUT_CACHE", str(tmp_path / "cache"))
    power = supply(failing_on(tmp_path))
    power.must("off", 10)
    with pytest.raises(RigError, match=r"the supply: the power could not be left on, 5 tries .*exit status 5") as told:
        power.close(gracefully=True)
    assert "switch it on by hand" in str(told.value)
    assert left_behind.taken() == []


def test_a_helper_that_does_not_end_is_told(supply: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    power = supply(switching(tmp_path))
    assert power.pid is not None
    os.kill(power.pid, signal.SIGSTOP)
    monkeypatch.setattr(power, "_leaves_within_s", 0.3)
    with pytest.raises(RigError, match=r"the supply: nothing tells how the power was left"):
        power.close(gracefully=True)


def test_what_nobody_was_left_to_hear_is_kept_for_the_next_run(
    told: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERCUT_CACHE", str(tmp_path / "cache"))
    script = textwrap.dedent(f"""
        import os, signal
        from powercut.clock import MonotonicClock
        from powercut.lab.supply import Supply
        power = Supply({told(failing_on(tmp_path))!r}, "power of rack-7", MonotonicClock())
        power.open()
        power.must("off", 10)
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    subprocess.run([sys.executable, "-c", script], timeout=60, check=False)
    found = poll(lambda: list(left_behind.taken()), CLOCK, limit_s=20, every_s=0.1)
    assert found
    assert "power of rack-7: the power could not be left on, 5 tries" in found[0]
    assert left_behind.taken() == []


class Outlet(BaseHTTPRequestHandler):
    """labgrid's model `simplerest`: /relay/1/0 switches, /relay/1 reads."""

    state = "1"

    def do_GET(self) -> None:
        value = self.path.removeprefix("/relay/1").strip("/")
        Outlet.state = value or Outlet.state
        body = Outlet.state.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_networked_outlet_is_read_back(supply: Make) -> None:
    with HTTPServer(("127.0.0.1", 0), Outlet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/relay/{{index}}/{{value}}"
        port = f"{{NetworkPowerPort: {{model: simplerest, host: '{url}', index: 1}}}}"
        power = supply("{NetworkPowerDriver: {}}", port)
        power.must("off", 10)
        assert power.must("get", 10).value is False
        power.must("on", 10)
        assert power.must("get", 10).value is True
        server.shutdown()


def test_a_driver_that_can_not_be_made_is_named(told: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    description = told(switching(tmp_path))
    description["driver"]["class"] = "NoSuchDriver"
    with pytest.raises(RigError, match="the supply"):
        Supply(description, "the supply", CLOCK).open()


def test_no_helper_is_left(supply: Make, tmp_path: Path) -> None:
    power = supply(switching(tmp_path))
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    pid = power.pid
    assert str(pid) in children.read_text().split()
    power.close()
    assert str(pid) not in children.read_text().split()
