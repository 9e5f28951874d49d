"""The one reader of the console, on a real socket."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from powercut.clock import MonotonicClock, poll
from powercut.errors import RigError
from powercut.lab.reader import LONGEST_LINE_BYTES, ConsoleReader

LIMIT_S = 10.0
CLOCK = MonotonicClock()


class Console:
    """A device's end of a console and the reader at the other one."""

    def __init__(self) -> None:
        self.reader = ConsoleReader(CLOCK)
        self.device, self._host = socket.socketpair()
        self.device.settimeout(LIMIT_S)

    def attach(self, log: Path | None = None) -> None:
        self.reader.attach(self._host, log=log)

    def prints(self, data: bytes) -> None:
        """Print, and wait until the reader has it."""
        before = len(self.reader._unread)
        self.device.sendall(data)
        assert poll(lambda: len(self.reader._unread) >= before + len(data), CLOCK, limit_s=LIMIT_S, every_s=0.001)

    def loses_power(self) -> None:
        self.device.close()
        self.reader.detach()
        self._host.close()

    def gets_power(self) -> None:
        self.device, self._host = socket.socketpair()
        self.attach()

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self.reader.lines()]


@pytest.fixture
def console() -> Iterator[Console]:
    console = Console()
    console.attach()
    yield console
    console.loses_power()


class Heard:
    """What a watch fired, and in which thread."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.thread = ""
        self._called = threading.Event()

    def __call__(self, text: str) -> None:
        self.texts.append(text)
        self.thread = threading.current_thread().name
        self._called.set()

    def comes(self, within_s: float = LIMIT_S) -> bool:
        return self._called.wait(within_s)


def test_every_line_is_stamped_with_its_moment(console: Console) -> None:
    before_s = CLOCK.now()
    console.prints(b"one\n")
    between_s = CLOCK.now()
    console.prints(b"two\n")
    first, second = console.reader.lines()
    assert before_s <= first.at_s <= between_s <= second.at_s <= CLOCK.now()
    assert (first.text, second.text) == ("one", "two")


def test_every_line_is_stamped_with_the_size_of_the_disk_log(tmp_path: Path) -> None:
    log, console = tmp_path / "disk.log", Console()
    log.write_bytes(bytes(512))
    console.attach(log)
    console.prints(b"one\n")
    log.write_bytes(bytes(2048))
    console.prints(b"two\n")
    assert [(line.log, line.log_bytes) for line in console.reader.lines()] == [(log, 512), (log, 2048)]
    console.loses_power()


def test_without_a_disk_log_the_stamp_says_so(console: Console) -> None:
    console.prints(b"one\n")
    line = console.reader.lines()[0]
    assert (line.log, line.log_bytes) == (None, 0)


def test_a_line_is_seen_while_it_is_being_printed(console: Console) -> None:
    console.prints(b"login ok\r\nroot@device:# ")
    assert console.texts == ["login ok", "root@device:# "]
    console.prints(b"reboot\r\n")
    assert console.texts == ["login ok", "root@device:# reboot"]


def test_a_watch_fires_on_a_growing_line_before_anyone_read_it(console: Console) -> None:
    heard = Heard()
    console.reader.watch(r"Deploying \d+%", heard)
    console.device.sendall(b"Deploying ")
    console.device.sendall(b"12%")
    assert heard.comes()
    assert (heard.texts, heard.thread) == (["Deploying 12%"], "console")
    assert console.reader.read(1, 0.0) == b"Deploying 12%"


def test_a_watch_fires_once(console: Console) -> None:
    heard = Heard()
    console.reader.watch("ready", heard)
    console.prints(b"ready\nready\n")
    console.prints(b"ready\n")
    assert heard.comes()
    assert heard.texts == ["ready"]


def test_a_watch_that_was_stopped_never_fires(console: Console) -> None:
    heard = Heard()
    stop = console.reader.watch("ready", heard)
    stop()
    stop()
    console.prints(b"ready\n")
    assert not heard.comes(within_s=0.05)


def test_a_watch_sees_no_escapes(console: Console) -> None:
    heard = Heard()
    console.reader.watch("^OTA: done$", heard)
    console.prints(b"\x1b[1;32mOTA:\x1b[0m done\r\n")
    assert heard.comes()


def test_two_watches_fire_on_the_same_line(console: Console) -> None:
    one, other = Heard(), Heard()
    console.reader.watch("OTA", one)
    console.reader.watch("done", other)
    console.prints(b"OTA: done\n")
    assert one.comes()
    assert other.comes()


def test_a_watch_may_ask_the_reader(console: Console) -> None:
    asked: list[str] = []
    heard = Heard()

    def fire(text: str) -> None:
        asked.extend(line.text for line in console.reader.lines())
        heard(text)

    console.reader.watch("now", fire)
    console.prints(b"before\nnow")
    assert heard.comes()
    assert asked == ["before", "now"]


def test_who_reads_gets_the_bytes_as_they_came(console: Console) -> None:
    console.prints(b"a\r\n\x1b[0mb")
    assert console.reader.read(1, 0.0, most=4) == b"a\r\n\x1b"
    assert console.reader.read(1, 0.0) == b"[0mb"
    assert console.reader.read(1, 0.0) == b""


def test_who_reads_waits_for_what_is_asked(console: Console) -> None:
    threading.Timer(0.05, console.device.sendall, [b"late"]).start()
    assert console.reader.read(4, LIMIT_S) == b"late"


def test_what_is_written_reaches_the_device(console: Console) -> None:
    assert console.reader.write(b"reboot\n") == 7
    assert console.device.recv(100) == b"reboot\n"


def test_the_end_of_the_stream_is_told_after_its_last_byte(console: Console) -> None:
    console.prints(b"last words")
    console.loses_power()
    assert console.reader.ended
    assert console.texts == ["last words"]
    assert console.reader.read(1, LIMIT_S) == b"last words"
    assert console.reader.read(1, LIMIT_S) == b""


def test_who_waits_is_woken_by_the_end(console: Console) -> None:
    threading.Timer(0.05, console.device.close).start()
    assert console.reader.read(1, LIMIT_S) == b""
    assert console.reader.ended


def test_nothing_can_be_written_to_a_device_without_power(console: Console) -> None:
    console.loses_power()
    with pytest.raises(RigError, match="the console is closed"):
        console.reader.write(b"reboot\n")


def test_lines_outlive_the_power_but_unread_bytes_do_not(console: Console) -> None:
    console.prints(b"first boot\nhalf a l")
    console.loses_power()
    mark = console.reader.mark()
    console.gets_power()
    console.prints(b"second boot\n")
    assert console.texts == ["first boot", "half a l", "second boot"]
    assert [line.text for line in console.reader.lines(mark)] == ["second boot"]
    assert console.reader.read(1, 0.0) == b"second boot\n"


def test_a_transcript_holds_every_line_with_its_stamp(console: Console, tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    console.prints(b"before\n")
    console.reader.transcribe(path)
    console.prints(b"\x1b[31mred\x1b[0m\r\n\r\nsn\xc3\xb6w \xff\r\nhalf")
    console.loses_power()
    console.reader.transcribe(None)
    lines = path.read_text().splitlines()
    assert [re.fullmatch(r"\d+\.\d{6} (.*)", line)[1] for line in lines] == ["red", "", "snöw \ufffd", "half"]  # type: ignore[index]


def test_a_transcript_is_gone_on_with(console: Console, tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    console.reader.transcribe(path)
    console.prints(b"one\n")
    console.reader.transcribe(None)
    console.prints(b"two\n")
    console.reader.transcribe(path)
    console.prints(b"three\n")
    assert [line.split(" ")[1] for line in path.read_text().splitlines()] == ["one", "three"]


def test_a_transcript_that_can_not_be_written_is_a_fault_of_the_rig(console: Console) -> None:
    console.reader.transcribe(Path("/dev/full"))
    console.prints(b"HEALTH: OK\n")
    with pytest.raises(RigError, match="No space left"):
        console.reader.read(1, LIMIT_S)
    console.reader.transcribe(None)
    assert console.reader.read(1, LIMIT_S) == b"HEALTH: OK\n"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        pytest.param(b"\x1b[1;31mFAILED\x1b[0m unit", "FAILED unit", id="colour"),
        pytest.param(b"\x1b[?25l\x1b[2J\x1b[1;1HGRUB", "GRUB", id="cursor"),
        pytest.param(b"\x1b(Bplain\x1b)0", "plain", id="character set"),
        pytest.param(b"\x1b]0;root@device\x07# ", "# ", id="title"),
        pytest.param(b"\x1b]3008;start=1;type=boot\x1b\\Started unit", "Started unit", id="systemd's context"),
        pytest.param(b" 10%\r 20%\r", " 10% 20%", id="progress"),
        pytest.param(b"\x00\x00boot", "boot", id="zeros of a line without power"),
        pytest.param(b"\xff\xfe", "\ufffd\ufffd", id="wrong baud rate"),
    ],
)
def test_lines_are_cleaned_of_what_is_no_text(console: Console, raw: bytes, text: str) -> None:
    console.prints(raw + b"\n")
    assert console.texts == [text]


def test_an_endless_line_is_bounded_and_nothing_of_it_is_lost(console: Console) -> None:
    console.prints(b"x" * (5 * LONGEST_LINE_BYTES + 7))
    console.prints(b"\nnext\n")
    lengths = [len(text) for text in console.texts]
    assert lengths == [LONGEST_LINE_BYTES] * 5 + [7, 4]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.text(st.characters(codec="ascii", categories=["L", "P", "Zs"]), max_size=20)), st.data())
def test_lines_do_not_depend_on_how_the_bytes_came(lines: list[str], data: st.DataObject) -> None:
    console = Console()
    console.attach()
    whole = "".join(f"{line}\r\n" for line in lines).encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=5)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    for piece in pieces:
        console.device.sendall(piece)
    console.loses_power()
    assert console.texts == lines
