"""The virtual lab: real labgrid, ser2net, snmpd and pdudaemon around QEMU boards, and each way it can misbehave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from labgrid import Target
from labgrid.driver.exception import ExecutionError
from labgrid.driver.power import apc, simplerest
from labgrid.driver.powerdriver import PDUDaemonDriver
from labgrid.resource.power import PDUDaemonPort
from tools.virtual_lab.client import TOOL, Lab, rack
from tools.virtual_lab.folder import sweep, ttys_of
from tools.virtual_lab.rack import _processes_with

from powercut.clock import MonotonicClock, poll
from powercut.errors import UsageError

WITHOUT = ("-p", "no:powercut", "-p", "no:xdist", "-p", "no:hypothesispytest", "-p", "no:cacheprovider")
BOARD, OTHER = "vlab-1", "vlab-2"
TEXT = (b"The quick brown fox jumps over the lazy dog. " * 10)[:400]
# A boot sector that writes itself to sector 1, says the text, and takes commands: r resets, p switches off.
#   0x00  xor ax,ax; mov ds,ax; mov es,ax; cld; mov ax,0x0301; mov cx,2; mov dx,0x80; mov bx,0x7c00; int 0x13
#   0x15  mov si,0x7c4e
#   0x18  lodsb; test al,al; jz 0x2c; push ax; mov dx,0x3fd
#   0x21  in al,dx; test al,0x20; jz 0x21; pop ax; mov dl,0xf8; out dx,al; jmp 0x18
#   0x2c  hlt; mov dx,0x3fd; in al,dx; test al,1; jz 0x2c; mov dl,0xf8; in al,dx
#   0x38  cmp al,'r'; jne 0x41; mov al,0xfe; out 0x64,al; hlt
#   0x41  cmp al,'p'; jne 0x2c; mov dx,0x604; mov ax,0x2000; out dx,ax; jmp 0x2c
CODE = bytes.fromhex(
    "31c08ed88ec0fcb80103b90200ba8000bb007ccd13be4e7c"
    "ac84c0740f50bafd03eca82074fb58b2f8eeebec"
    "f4bafd03eca80174f7b2f8ec3c727505b0fee664f43c7075e7ba0406b80020efebde"
)
SECTOR = (CODE + TEXT).ljust(510, b"\0") + b"\x55\xaa"
BOOTS = """
def test_console(target):
    http, snmp, pdudaemon = (target.get_driver("PowerProtocol", name=way) for way in ("http", "snmp", "pdudaemon"))
    console = target.get_driver("ConsoleProtocol")
    http.on()
    console.expect("root@device:# ", timeout=90)
    snmp.off()
    pdudaemon.on()
    console.expect("BOOT: ", timeout=30)
    pdudaemon.off()
"""
PLACE = """
targets:
  main:
    resources: {RemotePlace: {name: vlab-1}}
    drivers:
    - NetworkPowerDriver: {name: http, bindings: {port: http}}
    - NetworkPowerDriver: {name: snmp, bindings: {port: snmp}}
    - PDUDaemonDriver: {name: pdudaemon, bindings: {port: pdudaemon}}
    - SerialDriver: {bindings: {port: serial}}
"""


@pytest.fixture(scope="module")
def talking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk that boots in no time."""
    image = tmp_path_factory.mktemp("image") / "talking.img"
    image.write_bytes(SECTOR.ljust(1 << 20, b"\0"))
    return image


@pytest.fixture(scope="module")
def idle(talking: Path) -> Iterator[Lab]:
    """A rack of boards that say one sentence and wait."""
    with rack(2, image=talking, loss="ordered") as lab, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LG_COORDINATOR", lab.coordinator)
        patch.setenv("LG_USERNAME", f"test-{os.getpid()}")
        patch.setenv("PATH", f"{lab.path}:{os.environ['PATH']}")
        yield lab


@pytest.fixture
def lab(idle: Lab) -> Iterator[Lab]:
    """The same rack, with all boards off and nothing wrong."""
    idle.heal()
    http(idle, BOARD, False)
    http(idle, OTHER, False)
    yield idle
    idle.heal()


@pytest.fixture
def place(lab: Lab) -> Iterator[None]:
    """The first board's place, acquired."""
    client("acquire")
    yield
    subprocess.run(line("release"), check=False, capture_output=True)


def line(*args: str, place: str = BOARD) -> list[str]:
    return [sys.executable, "-m", "labgrid.remote.client", "-p", place, *args]


def client(*args: str, place: str = BOARD) -> str:
    done = subprocess.run(line(*args, place=place), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def http(lab: Lab, board: str, on: bool) -> None:
    status = lab.board(board)
    simplerest.power_set(status["http"], None, status["index"], on)


def http_says(lab: Lab, board: str = BOARD) -> bool:
    status = lab.board(board)
    return bool(simplerest.power_get(status["http"], None, status["index"]))


def snmp(lab: Lab, board: str, on: bool) -> None:
    status = lab.board(board)
    apc.power_set(status["snmp"], None, status["index"], on)


def snmp_says(lab: Lab, board: str = BOARD) -> bool:
    status = lab.board(board)
    return bool(apc.power_get(status["snmp"], None, status["index"]))


def alive(lab: Lab, board: str = BOARD) -> bool:
    return lab.board(board)["pid"] is not None


def soon(condition: Callable[[], bool], limit_s: float = 10) -> bool:
    return bool(poll(condition, MonotonicClock(), limit_s=limit_s, every_s=0.02))


def processes_of(folder: Path) -> list[int]:
    mark = f"POWERCUT_VLAB={folder}".encode()
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and mark in environment(entry)]


def environment(process: Path) -> list[bytes]:
    with suppress(OSError):
        return (process / "environ").read_bytes().split(b"\0")
    return []


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@contextmanager
def opened(lab: Lab) -> Iterator[int]:
    """The first board's tty, as ser2net would open it."""
    terminal = os.open(lab.board(BOARD)["tty"], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        yield terminal
    finally:
        os.close(terminal)


def said(lab: Lab, at_least: int) -> bytes:
    """What arrives at the tty when the board says all it has to say."""
    seen = bytearray()

    def over() -> bool:
        with suppress(BlockingIOError):
            seen.extend(os.read(terminal, 4096))
        return len(seen) >= at_least and lab.board(BOARD)["said_bytes"] == len(TEXT)

    http(lab, BOARD, False)
    with opened(lab) as terminal:
        http(lab, BOARD, True)
        assert soon(over), bytes(seen)
    return bytes(seen)


def cut(lab: Lab) -> dict[str, Any]:
    """What the board's disk lost by switching off."""
    http(lab, BOARD, False)
    seed = f"0:{BOARD}:{lab.board(BOARD)['cuts']}"
    assert soon(lambda: lab.board(BOARD)["loss"]["seed"] == seed)
    return dict(lab.board(BOARD)["loss"])


@contextmanager
def asked_to_switch_off(lab: Lab) -> Iterator[subprocess.Popen[bytes]]:
    """A request that may take its time."""
    url = lab.board(BOARD)["http"].format(index=1, value=0)
    with subprocess.Popen(["curl", "-sf", url], stdout=subprocess.DEVNULL) as request:
        yield request


def test_a_board_boots_to_its_prompt_on_an_acquired_place_and_its_console_outlives_a_power_cycle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "place.yaml").write_text(PLACE)
    (tmp_path / "test_boots.py").write_text(BOOTS)
    inner = [sys.executable, "-m", "pytest", "-q", *WITHOUT, "--lg-env", "place.yaml", "test_boots.py"]
    with rack(1) as lab:
        monkeypatch.setenv("LG_COORDINATOR", lab.coordinator)
        monkeypatch.setenv("LG_USERNAME", f"boot-{os.getpid()}")
        monkeypatch.setenv("PATH", f"{lab.path}:{os.environ['PATH']}")
        client("acquire")
        done = subprocess.run(inner, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout
        assert lab.board(BOARD)["power_ons"] == lab.board(BOARD)["cuts"] == 2


def test_the_places_carry_their_tags_and_three_ways_to_their_outlet(lab: Lab) -> None:
    shown = client("show")
    assert "board=virtual, rack=vlab" in shown
    assert all(f"-> {name}" in shown for name in ("http", "snmp", "pdudaemon", "serial", "ssh"))


def test_power_is_switched_by_http(lab: Lab) -> None:
    http(lab, BOARD, True)
    assert alive(lab)
    http(lab, BOARD, False)
    assert not alive(lab)


def test_power_is_switched_by_snmp(lab: Lab) -> None:
    snmp(lab, BOARD, True)
    assert alive(lab)
    snmp(lab, BOARD, False)
    assert not alive(lab)


def test_power_is_switched_by_pdudaemon(lab: Lab) -> None:
    target = Target("board")
    PDUDaemonPort(target, "pdu", host=lab.status()["pdudaemon"], pdu=lab.board(BOARD)["pdu"], index=1)
    power = PDUDaemonDriver(target, "pdu")
    target.activate(power)
    power.on()
    assert alive(lab)
    power.off()
    assert not alive(lab)


def test_read_back_tells_what_the_outlet_does_whoever_switched_it(lab: Lab) -> None:
    snmp(lab, BOARD, True)
    assert http_says(lab)
    http(lab, BOARD, False)
    assert not snmp_says(lab)


def test_a_late_answer_comes_after_the_board_is_dead(lab: Lab) -> None:
    http(lab, BOARD, True)
    lab.fault(BOARD, "late", 1)
    began = time.monotonic()
    with asked_to_switch_off(lab) as request:
        assert soon(lambda: not alive(lab))
        assert request.poll() is None
        assert request.wait(10) == 0
    assert time.monotonic() - began >= 1


def test_a_late_snmp_answer_does_not_make_a_repeated_request_switch_again(lab: Lab) -> None:
    snmp(lab, BOARD, True)
    lab.fault(BOARD, "late", 1.5)
    snmp(lab, BOARD, False)
    lab.heal(BOARD)
    http(lab, BOARD, True)
    assert snmp_says(lab)
    assert alive(lab)


def test_a_slow_switch_leaves_the_board_alive_until_it_answers(lab: Lab) -> None:
    http(lab, BOARD, True)
    lab.fault(BOARD, "slow", 1)
    with asked_to_switch_off(lab) as request:
        assert alive(lab)
        assert request.wait(10) == 0
    assert not alive(lab)


def test_a_power_switch_that_hangs_answers_nobody_and_does_nothing_when_it_recovers(lab: Lab) -> None:
    http(lab, BOARD, True)
    lab.fault(BOARD, "hangs")
    url = lab.board(BOARD)["http"].format(index=1, value=0)
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(url, timeout=0.3)
    lab.heal(BOARD, "hangs")
    assert alive(lab)
    assert snmp_says(lab)


def test_a_power_switch_that_answers_with_errors_says_so_in_each_protocol(lab: Lab) -> None:
    lab.fault(BOARD, "errors")
    with pytest.raises(requests.exceptions.HTTPError):
        http(lab, BOARD, True)
    with pytest.raises(ExecutionError):
        snmp(lab, BOARD, True)
    with pytest.raises(requests.exceptions.HTTPError):
        http_says(lab)
    assert not alive(lab)


def test_a_power_switch_that_refuses_connections_takes_them_again_at_the_same_address(lab: Lab) -> None:
    lab.fault(BOARD, "refuses")
    with pytest.raises(requests.exceptions.ConnectionError):
        http(lab, BOARD, True)
    lab.heal(BOARD, "refuses")
    http(lab, BOARD, True)
    assert snmp_says(lab)


def test_a_power_switch_that_ignores_says_yes_and_reads_back_the_truth(lab: Lab) -> None:
    http(lab, BOARD, True)
    lab.fault(BOARD, "ignores")
    http(lab, BOARD, False)
    assert http_says(lab)
    assert alive(lab)


@pytest.mark.parametrize("fault", ["lies", "sticks"])
def test_a_board_lives_on_though_its_outlet_says_off(lab: Lab, fault: str) -> None:
    http(lab, BOARD, True)
    lab.fault(BOARD, fault)
    snmp(lab, BOARD, False)
    assert not http_says(lab)
    assert alive(lab)


def test_a_power_switch_that_cycles_comes_back_by_itself(lab: Lab) -> None:
    http(lab, BOARD, True)
    lab.fault(BOARD, "cycles", 0.3)
    http(lab, BOARD, False)
    assert not alive(lab)
    assert soon(lambda: alive(lab))
    assert http_says(lab)


def test_a_shared_outlet_switches_both_boards(lab: Lab) -> None:
    http(lab, OTHER, True)
    lab.fault(BOARD, "shared", OTHER)
    http(lab, BOARD, True)
    http(lab, BOARD, False)
    assert not alive(lab)
    assert not alive(lab, OTHER)


def test_a_miswired_outlet_switches_the_other_board(lab: Lab) -> None:
    lab.fault(BOARD, "miswired", OTHER)
    http(lab, BOARD, True)
    assert not alive(lab)
    assert alive(lab, OTHER)


def test_power_that_is_back_before_the_capacitors_are_empty_was_never_away(lab: Lab) -> None:
    http(lab, BOARD, True)
    before = lab.board(BOARD)["pid"]
    lab.fault(BOARD, "capacitors", 400)
    http(lab, BOARD, False)
    http(lab, BOARD, True)
    assert lab.board(BOARD)["pid"] == before
    http(lab, BOARD, False)
    assert alive(lab)
    assert soon(lambda: not alive(lab))


def test_power_that_is_back_before_a_brown_out_is_over_leaves_a_board_that_hangs_until_it_was_away_for_longer(
    lab: Lab,
) -> None:
    http(lab, BOARD, True)
    lab.fault(BOARD, "brown-out", 700)
    http(lab, BOARD, False)
    assert not alive(lab)
    http(lab, BOARD, True)
    assert not alive(lab)
    assert lab.board(BOARD)["state"] == "halted"
    assert "browned out" in lab.board(BOARD)["halted"]
    http(lab, BOARD, False)
    MonotonicClock().rest(0.8)
    http(lab, BOARD, True)
    assert alive(lab)
    assert lab.board(BOARD)["state"] == "running"


def test_the_serial_line_is_clean_unless_told_otherwise(lab: Lab) -> None:
    assert said(lab, len(TEXT)) == TEXT
    assert said(lab, len(TEXT)) == TEXT


def test_noise_corrupts_bytes_and_loses_none(lab: Lab) -> None:
    lab.fault(BOARD, "noise", 0.1)
    noisy = said(lab, len(TEXT))
    assert len(noisy) == len(TEXT)
    assert noisy != TEXT


def test_a_line_that_loses_bytes_brings_the_others(lab: Lab) -> None:
    lab.fault(BOARD, "loses-bytes", 0.5)
    short = said(lab, 100)
    assert len(short) < len(TEXT)
    assert set(short) <= set(TEXT)


def test_a_pulled_cable_passes_nothing_until_it_is_put_back(lab: Lab) -> None:
    lab.fault(BOARD, "cable-pulled")
    assert said(lab, 0) == b""
    lab.heal(BOARD)
    assert said(lab, len(TEXT)) == TEXT


def test_a_loose_cable_is_put_back_by_itself(lab: Lab) -> None:
    lab.fault(BOARD, "cable-loose", 2)
    assert said(lab, 0) == b""
    assert soon(lambda: not lab.board(BOARD)["faults"])
    assert said(lab, len(TEXT)) == TEXT


def test_an_unplugged_adapter_hangs_up_and_comes_back_at_the_same_path(lab: Lab) -> None:
    with opened(lab) as terminal:
        lab.fault(BOARD, "adapter-unplugged")
        with pytest.raises(OSError, match="Input/output error"):
            os.write(terminal, b"x")
    assert not os.path.lexists(lab.board(BOARD)["tty"])
    lab.heal(BOARD)
    assert said(lab, len(TEXT)) == TEXT


def test_a_killed_ser2net_stays_dead_until_the_place_is_acquired_again(lab: Lab, place: None) -> None:
    lab.fault(BOARD, "ser2net-killed")
    with pytest.raises(UsageError, match="no ser2net"):
        lab.fault(BOARD, "ser2net-killed")
    client("release")
    client("acquire")
    lab.fault(BOARD, "ser2net-killed")


def test_a_stopped_ser2net_is_there_and_goes_on_when_it_is_healed(lab: Lab, place: None) -> None:
    (pid,) = _processes_with(f",{lab.board(BOARD)['tty']},")
    lab.fault(BOARD, "ser2net-stopped")
    assert soon(lambda: state_of(pid) == "T")
    lab.heal(BOARD)
    assert soon(lambda: state_of(pid) == "S")


def test_a_stopped_exporter_is_there_and_goes_on_when_it_is_healed(lab: Lab) -> None:
    lab.fault("lab", "exporter-stopped")
    pid = lab.status()["programs"]["exporter"]
    assert soon(lambda: state_of(pid) == "T")
    lab.heal("lab")
    assert soon(lambda: state_of(pid) == "S")


def test_a_killed_coordinator_comes_back_with_its_places_and_the_exporter(lab: Lab) -> None:
    lab.fault("lab", "coordinator-killed")
    assert soon(lambda: lab.status()["programs"]["exporter"] is None)
    lab.heal("lab")
    places = client("places")
    assert BOARD in places
    assert OTHER in places
    client("acquire")
    client("release")


def test_a_killed_exporter_takes_its_ser2net_with_it(lab: Lab, place: None) -> None:
    lab.fault("lab", "exporter-killed")
    with pytest.raises(UsageError, match="no ser2net"):
        lab.fault(BOARD, "ser2net-killed")
    lab.heal("lab")
    assert lab.status()["programs"]["exporter"]


def test_a_snapshot_has_what_was_written_so_far(lab: Lab, talking: Path, tmp_path: Path) -> None:
    said(lab, 0)
    lab.snapshot(BOARD, tmp_path / "now.qcow2")
    sectors = ["qemu-img", "dd", "-O", "raw", "bs=512", "count=2", f"if={tmp_path}/now.qcow2", f"of={tmp_path}/sectors"]
    subprocess.run(sectors, check=True, capture_output=True)
    assert (tmp_path / "sectors").read_bytes() == SECTOR * 2


def test_a_guest_that_resets_itself_goes_on_and_a_cut_is_drawn_over_all_since_power_on(lab: Lab) -> None:
    said(lab, 0)
    once = cut(lab)
    said(lab, 0)
    with opened(lab) as terminal:
        os.write(terminal, b"r")
        assert soon(lambda: lab.board(BOARD)["resets"] == 1 and lab.board(BOARD)["said_bytes"] == len(TEXT))
    twice = cut(lab)
    assert once["records"] > 0
    assert twice["records"] == 2 * once["records"]
    assert twice["model"] == "ordered"


def test_a_guest_that_switches_itself_off_stays_off_until_its_power_is_cycled(lab: Lab) -> None:
    said(lab, 0)
    with opened(lab) as terminal:
        os.write(terminal, b"p")
        assert soon(lambda: lab.board(BOARD)["state"] == "halted")
    http(lab, BOARD, True)
    assert not alive(lab)
    assert said(lab, len(TEXT)) == TEXT


def test_a_mistake_is_answered_by_what_to_do(lab: Lab) -> None:
    with pytest.raises(UsageError, match="one of: vlab-1, vlab-2"):
        lab.fault("vlab-9", "hangs")
    with pytest.raises(UsageError, match="late, slow, hangs"):
        lab.fault(BOARD, "sleeps")
    done = subprocess.run([str(TOOL), "status", "--dir", "/nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "to do: start one: tools/vlab up" in done.stderr


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_whatever_ends_the_lab_no_process_stays(talking: Path, how: signal.Signals) -> None:
    folder = Path(f"/tmp/vlab-end-{os.getpid()}")
    with rack(1, image=talking, folder=folder, on=True) as lab:
        assert len(processes_of(folder)) == 5  # coordinator, exporter, pdudaemon, snmpd, QEMU
        os.kill(lab.status()["pid"], how)
        assert soon(lambda: not processes_of(folder))
        assert how is signal.SIGKILL or soon(lambda: not folder.exists() and not ttys_of(lab.folder).exists())
    sweep()
    assert not folder.exists()
    assert not ttys_of(folder).exists()
