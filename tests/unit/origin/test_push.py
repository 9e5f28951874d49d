"""A release pushed over SSH to a real server: exact at the gate, and clear about what went wrong."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import IO

import paramiko
import pytest
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED

from powercut.clock import Clock, MonotonicClock
from powercut.device import PowerLost
from powercut.errors import RigError
from powercut.origin.gate import Gate
from powercut.origin.ledger import Ledger
from powercut.origin.push import Address, push

from .conftest import LIMIT_S, OBJECT, GateUnderTest, eventually

PASSWORD = "let me in"


class SSHDevice(paramiko.ServerInterface):
    """An SSH server that really runs the commands it is given."""

    def __init__(self, key: paramiko.PKey) -> None:
        self.key = key
        self.powered = True
        self._lines: list[socket.socket] = []
        self.listen(0)

    def listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_power(self) -> None:
        self.powered = False
        self.hang_up()

    def hang_up(self) -> None:
        for line in [self._listener, *self._lines]:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        return AUTH_SUCCESSFUL if password == PASSWORD else AUTH_FAILED

    def check_auth_none(self, username: str) -> int:
        return AUTH_SUCCESSFUL if username == "anyone" else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._run, args=(channel, command.decode()), daemon=True).start()
        return True

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                self._lines.append(line)
                transport = paramiko.Transport(line)
                transport.add_server_key(self.key)
                with contextlib.suppress(paramiko.SSHException, EOFError):
                    transport.start_server(server=self)

    def _run(self, channel: paramiko.Channel, command: str) -> None:
        pipe = subprocess.PIPE
        with (
            subprocess.Popen(command, shell=True, stdin=pipe, stdout=pipe, stderr=pipe) as receiver,
            contextlib.suppress(OSError, EOFError),
        ):
            assert receiver.stdout is not None
            threading.Thread(target=_feed, args=(channel, receiver.stdin), daemon=True).start()
            errors = threading.Thread(target=_pump, args=(receiver.stderr, channel.sendall_stderr), daemon=True)
            errors.start()
            _pump(receiver.stdout, channel.sendall)
            errors.join()
            channel.send_exit_status(receiver.wait())
            channel.close()


def _feed(channel: paramiko.Channel, receiver: IO[bytes]) -> None:
    with contextlib.suppress(OSError, EOFError):
        while data := channel.recv(1 << 15):
            receiver.write(data)
            receiver.flush()
    with contextlib.suppress(OSError):
        receiver.close()


def _pump(source: IO[bytes], send: Callable[[bytes], None]) -> None:
    while data := source.read1(1 << 15):  # type: ignore[attr-defined]
        send(data)


@pytest.fixture(scope="session")
def keys() -> tuple[paramiko.PKey, paramiko.PKey]:
    return paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()


@pytest.fixture
def device(keys: tuple[paramiko.PKey, paramiko.PKey]) -> Iterator[SSHDevice]:
    device = SSHDevice(keys[0])
    yield device
    device.hang_up()


class Impatient(MonotonicClock):
    """A clock on which any time has passed at once."""

    def __init__(self) -> None:
        self._rested_s = 0.0

    def now(self) -> float:
        return super().now() + self._rested_s

    def rest(self, seconds: float) -> None:
        self._rested_s += seconds


class Pushing:
    """A push in a thread of its own, and how it ended."""

    def __init__(self, what: Callable[[], None]) -> None:
        self._ended: list[BaseException | None] = []
        self._thread = threading.Thread(target=self._run, args=(what,), daemon=True)
        self._thread.start()

    def end(self) -> BaseException | None:
        self._thread.join(LIMIT_S)
        assert self._ended, "the push did not end"
        return self._ended[0]

    def _run(self, what: Callable[[], None]) -> None:
        try:
            what()
        except BaseException as fault:
            self._ended.append(fault)
        else:
            self._ended.append(None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "release.bin"
    path.write_bytes(OBJECT)
    return path


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(MonotonicClock())


@pytest.fixture
def pushed(device: SSHDevice, file: Path, ledger: Ledger, tmp_path: Path) -> Callable[..., None]:
    """Pushes the release into a command on the device."""

    def run(
        command: str, *, gate: Gate | None = None, username: str = "root", password: str | None = PASSWORD,
        limit_s: float = LIMIT_S, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        push(
            Address("127.0.0.1", device.port, username, password, "board-7"),
            file,
            command,
            gate=gate or Gate(None),
            ledger=ledger,
            known_hosts=tmp_path / "keys" / "known_hosts",
            has_power=lambda: device.powered,
            clock=clock or MonotonicClock(),
            limit_s=limit_s,
        )

    return run


def test_the_receiver_gets_the_whole_file(pushed: Callable[..., None], ledger: Ledger, tmp_path: Path) -> None:
    pushed(f"cat > {tmp_path}/got")
    assert (tmp_path / "got").read_bytes() == OBJECT
    assert ledger.payload_bytes() == len(OBJECT)
    assert [(entry.method, entry.path, entry.whole_bytes) for entry in ledger.entries()] == [
        ("PUSH", "release.bin", len(OBJECT))
    ]


@pytest.mark.parametrize("seed", range(5))
def test_at_the_gate_the_receiver_has_exactly_that_many_bytes_and_the_power_goes(
    pushed: Callable[..., None], device: SSHDevice, ledger: Ledger, tmp_path: Path, seed: int
) -> None:
    count, got = Random(f"push:{seed}").randint(1, len(OBJECT) - 1), tmp_path / "got"
    gate = GateUnderTest(payload_bytes=count)
    pushing = Pushing(partial(pushed, f"cat > {got}", gate=gate.gate))
    gate.await_shut()
    assert eventually(lambda: got.stat().st_size == count)
    device.lose_power()
    gate.gate.lift()
    assert isinstance(pushing.end(), PowerLost)
    assert got.read_bytes() == OBJECT[:count]
    assert ledger.payload_bytes() == count


def test_a_gate_that_nobody_answers_with_a_cut_is_a_fault_of_the_rig(pushed: Callable[..., None]) -> None:
    with pytest.raises(RigError, match="nobody cut the power"):
        pushed("cat > /dev/null", gate=GateUnderTest(payload_bytes=100).gate, limit_s=0.2)


def test_a_device_that_asks_for_no_password_is_let_be(pushed: Callable[..., None], tmp_path: Path) -> None:
    pushed(f"cat > {tmp_path}/got", username="anyone", password=None)
    assert (tmp_path / "got").read_bytes() == OBJECT


@pytest.mark.parametrize("password", ["wrong", None])
def test_a_refused_login_is_the_labs_to_mend(pushed: Callable[..., None], password: str | None) -> None:
    with pytest.raises(RigError, match="refuses the login") as told:
        pushed("cat", password=password)
    assert "root@127.0.0.1" in str(told.value)


def test_a_host_key_is_remembered(pushed: Callable[..., None], tmp_path: Path) -> None:
    pushed("cat > /dev/null")
    pushed("cat > /dev/null")
    assert (tmp_path / "keys" / "known_hosts").read_text().count("board-7") == 1


def test_a_host_key_that_changed_stops_the_push(
    pushed: Callable[..., None],
    device: SSHDevice,
    keys: tuple[paramiko.PKey, paramiko.PKey],
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    pushed("cat > /dev/null")
    device.key = keys[1]
    with pytest.raises(RigError, match="host key changed") as told:
        pushed(f"cat > {tmp_path}/got")
    assert str(tmp_path / "keys" / "known_hosts") in str(told.value)
    assert not (tmp_path / "got").exists()
    assert len(ledger.entries()) == 1


def test_a_receiver_that_fails_at_the_end_is_quoted(pushed: Callable[..., None]) -> None:
    with pytest.raises(RigError, match="receiver ended with 3: no space left"):
        pushed("cat > /dev/null; echo no space left >&2; exit 3")


def test_a_receiver_that_fails_in_the_middle_is_quoted(pushed: Callable[..., None], file: Path) -> None:
    file.write_bytes(bytes(20_000_000))
    with pytest.raises(RigError, match="receiver ended with 4: no space left"):
        pushed("head -c 1000 > /dev/null; echo no space left >&2; exit 4")


def test_a_receiver_that_talks_a_lot_is_listened_to(pushed: Callable[..., None], file: Path) -> None:
    pushed("cat > /dev/null; head -c 4000000 /dev/zero")


def test_a_line_that_breaks_with_the_power_on_is_a_fault_of_the_rig(
    pushed: Callable[..., None], device: SSHDevice
) -> None:
    gate = GateUnderTest(payload_bytes=len(OBJECT))
    pushing = Pushing(partial(pushed, "cat > /dev/null; sleep 2", gate=gate.gate))
    gate.await_shut()
    device.hang_up()
    ended = pushing.end()
    assert isinstance(ended, RigError)
    assert "lost the line" in str(ended)


def test_power_that_goes_while_the_receiver_works_is_no_fault_of_anyone(
    pushed: Callable[..., None], device: SSHDevice
) -> None:
    gate = GateUnderTest(payload_bytes=len(OBJECT))
    pushing = Pushing(partial(pushed, "cat > /dev/null; sleep 2", gate=gate.gate))
    gate.await_shut()
    device.lose_power()
    assert isinstance(pushing.end(), PowerLost)


def test_a_receiver_that_never_ends_is_not_waited_for_longer_than_the_limit(pushed: Callable[..., None]) -> None:
    with pytest.raises(RigError, match="lost the line"):
        pushed("cat > /dev/null; exec 2>&-; sleep 3", limit_s=0.3)


def test_a_device_without_an_ssh_server_is_the_labs_to_mend(pushed: Callable[..., None], device: SSHDevice) -> None:
    device.hang_up()
    with pytest.raises(RigError, match=r"lost the line: .*refused"):
        pushed("cat", clock=Impatient())


def test_a_device_that_has_just_booted_is_given_time_to_start_its_ssh_server(
    pushed: Callable[..., None], device: SSHDevice, tmp_path: Path
) -> None:
    device.hang_up()
    threading.Timer(0.3, device.listen, [device.port]).start()
    pushed(f"cat > {tmp_path}/got")
    assert (tmp_path / "got").read_bytes() == OBJECT
