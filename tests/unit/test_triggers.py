"""Moments: values that are printed and read back, and that fire when the moment has come."""

from __future__ import annotations

import http.client
import math
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.clock import MonotonicClock, poll
from powercut.errors import UsageError
from powercut.lab.reader import ConsoleReader
from powercut.origin.content import Content
from powercut.origin.server import Origin
from powercut.triggers import AnyTrigger, Phase, Running, at, parse_trigger

LIMIT_S = 10.0
CLOCK = MonotonicClock()

sizes = st.integers(0, 1 << 50)
counts = st.integers(1, 1 << 50)
numbers = st.floats(0, 1e12)
dwells = st.just(0.5) | st.floats(0, 100)
texts = st.text(st.characters(categories=["L", "N", "Zs"], include_characters=":/=.,-'"))


@pytest.mark.parametrize(
    ("trigger", "text"),
    [
        (at.bytes(4_194_304), "bytes:4194304"),
        (at.bytes(5, dwell_s=2), "bytes:5:dwell=2"),
        (at.fraction(0.5), "fraction:0.5"),
        (at.fraction(1 / 3), "fraction:0.3333333333333333"),
        (at.fraction(0.1, dwell_s=0.0), "fraction:0.1:dwell=0"),
        (at.request(3), "request:3"),
        (at.console("Deploying: (.*)"), "console:Deploying: (.*)"),
        (at.console("OTA: done", after_s=1.5), "console:OTA: done:after=1.5"),
        (at.elapsed(2), "elapsed:2"),
        (at.elapsed(0.25), "elapsed:0.25"),
        (at.writes(1000), "writes:1000"),
        (at.megabytes(1.5), "megabytes:1.5"),
        (at.megabytes(1234.5678), "megabytes:1234.5678"),
        *[(at.phase(name), f"phase:{name}") for name in Phase.names],
    ],
    ids=str,
)
def test_a_trigger_is_printed_and_read_back(trigger: AnyTrigger, text: str) -> None:
    assert str(trigger) == text
    assert parse_trigger(text) == trigger


@given(
    st.builds(at.bytes, sizes, dwells)
    | st.builds(at.fraction, st.floats(0, 1, exclude_min=True, exclude_max=True), dwells)
    | st.builds(at.request, counts)
    | st.builds(at.console, texts)
    | st.builds(at.elapsed, numbers)
    | st.builds(at.writes, counts)
    | st.builds(at.megabytes, numbers)
)
def test_any_trigger_is_read_back_as_it_was(trigger: AnyTrigger) -> None:
    assert parse_trigger(str(trigger)) == trigger


@pytest.mark.parametrize(
    "text",
    [
        "", "bytes", "bytes:", "bytes:many", "bytes:1.5", "bytes:-1", "bytes:5:dwell=long", "bytes:5:dwell=-1",
        "fraction:half", "fraction:nan", "request:0", "console:(", "elapsed:-1", "elapsed:inf", "elapsed:nan",
        "writes:0", "megabytes:-0.1", "megabytes:nan", "phase:during.lunch", "moon:full", "fraction",
    ],
)  # fmt: skip
def test_a_text_that_is_no_trigger_is_the_users_to_mend(text: str) -> None:
    with pytest.raises(UsageError):
        parse_trigger(text)


@given(st.text(max_size=40))
def test_any_text_is_a_trigger_or_the_users_to_mend(text: str) -> None:
    with suppress(UsageError):
        str(parse_trigger(text))


def test_what_is_no_trigger_is_told_with_the_kinds_there_are() -> None:
    with pytest.raises(UsageError, match=r"'moon:full' is no trigger(?s:.*)bytes, fraction, request, console"):
        parse_trigger("moon:full")


@pytest.mark.parametrize("part", [0, 1, -0.1, 1.1, math.nan, math.inf])
def test_a_fraction_lies_between_nothing_and_everything(part: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        at.fraction(part)


def test_a_phase_that_there_is_not_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no phase 'during\.lunch'(?s:.*)during\.deploy"):
        at.phase("during.lunch")


class Moment:
    """What a trigger was armed on, and what it fired."""

    def __init__(self, disarm: ExitStack, log: Path | None, origin: Origin, reader: ConsoleReader) -> None:
        self.fired: list[str] = []
        self.threads: list[str] = []
        self.disarm = disarm
        self._running = Running(origin, reader, CLOCK, log, whole_bytes=1000)
        self._came = threading.Event()

    def arm(self, trigger: AnyTrigger) -> None:
        trigger.arm(self._running, self._fire, self.disarm)

    def comes(self, within_s: float = LIMIT_S) -> bool:
        return self._came.wait(within_s)

    def _fire(self, what: str) -> None:
        self.fired.append(what)
        self.threads.append(threading.current_thread().name)
        self._came.set()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "disk.log"
    path.touch()
    return path


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    origin = Origin(CLOCK)
    origin.offer(Content(tmp_path, {"/a": bytes(300), "/b": bytes(700)}))
    return origin


@pytest.fixture
def reader() -> ConsoleReader:
    return ConsoleReader(CLOCK)


@pytest.fixture
def moment(log: Path, origin: Origin, reader: ConsoleReader) -> Iterator[Moment]:
    with ExitStack() as disarm:
        yield Moment(disarm, log, origin, reader)


@pytest.fixture
def fetch(origin: Origin) -> Iterator[Callable[[str], None]]:
    """Fetches paths one after the other, beside the test."""

    def run(url: str) -> None:
        with suppress(OSError, http.client.HTTPException):
            urllib.request.urlopen(url, timeout=LIMIT_S).read()

    with origin.listen(("127.0.0.1", 0)) as url:
        yield lambda path: threading.Thread(target=run, args=(url + path,), daemon=True).start()


def sent(origin: Origin) -> int:
    return origin.ledger.payload_bytes()


def test_bytes_fire_when_exactly_so_many_were_sent(
    moment: Moment, origin: Origin, fetch: Callable[[str], None]
) -> None:
    moment.arm(at.bytes(400, dwell_s=0.02))
    fetch("/a")
    assert not moment.comes(within_s=0.1)
    fetch("/b")
    assert moment.comes()
    assert (sent(origin), moment.fired) == (400, ["400 bytes served"])


def test_a_fraction_fires_at_its_part_of_a_whole_update(
    moment: Moment, origin: Origin, fetch: Callable[[str], None]
) -> None:
    moment.arm(at.fraction(0.25, dwell_s=0.0))
    fetch("/b")
    assert moment.comes()
    assert sent(origin) == 250


def test_a_request_fires_before_it_is_answered(moment: Moment, origin: Origin, fetch: Callable[[str], None]) -> None:
    moment.arm(at.request(1))
    fetch("/a")
    assert moment.comes()
    assert (sent(origin), moment.fired) == (0, ["request 1"])


def test_a_console_pattern_fires_on_a_line_that_is_still_being_printed(moment: Moment, reader: ConsoleReader) -> None:
    device, host = socket.socketpair()
    with device:
        reader.attach(host)
        moment.arm(at.console("deploy(ing|ed)"))
        device.sendall(b"OTA: deploying 1.1 ")
        assert moment.comes()
        assert moment.fired == ["OTA: deploying 1.1 "]
        assert moment.threads == ["console"]
    reader.detach()
    host.close()


def test_elapsed_fires_after_its_time(moment: Moment) -> None:
    began_s = CLOCK.now()
    moment.arm(at.elapsed(0.05))
    assert moment.comes()
    assert CLOCK.now() - began_s >= 0.05
    assert moment.fired == ["0.05 s passed"]


def test_elapsed_is_over_when_it_is_disarmed(moment: Moment) -> None:
    moment.arm(at.elapsed(0.05))
    moment.disarm.close()
    assert not moment.comes(within_s=0.15)


def write(log: Path, *commands: str) -> None:
    """Really write to a disk, as QEMU logs it."""
    disk = log.with_name("disk.raw")
    disk.write_bytes(bytes(4 << 20))
    layers = f"driver=blklogwrites,file.driver=file,file.filename={disk},log.driver=file,log.filename={log}"
    each = [word for command in commands for word in ("-c", command)]
    args = ["qemu-io", "-t", "writeback", "--image-opts", layers, *each]
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL, timeout=30)


def test_writes_do_not_fire_before_their_count(moment: Moment, log: Path) -> None:
    moment.arm(at.writes(3))
    write(log, "write 0 4k", "flush", "write 8k 4k")
    assert not moment.comes(within_s=0.05)


def test_what_was_written_before_does_not_count(moment: Moment, log: Path) -> None:
    write(log, "write 0 4k", "write 8k 4k", "write 16k 4k")
    moment.arm(at.writes(1))
    assert not moment.comes(within_s=0.05)


def test_writes_fire_once_at_their_count(moment: Moment, log: Path) -> None:
    moment.arm(at.writes(3))
    write(log, "write 0 4k", "write 8k 4k", "flush", "write 16k 4k", "write 24k 4k")
    assert moment.comes()
    assert moment.fired == ["write 3"]


def test_megabytes_fire_at_their_count(moment: Moment, log: Path) -> None:
    moment.arm(at.megabytes(1.5))
    write(log, "write 0 1M", "write 1M 1M")
    assert moment.comes()
    assert moment.fired == ["1.5 MB written"]


def test_a_disk_trigger_ends_when_it_is_disarmed(moment: Moment) -> None:
    moment.arm(at.writes(1))
    moment.disarm.close()
    assert poll(lambda: "disk log" not in {thread.name for thread in threading.enumerate()}, CLOCK, limit_s=LIMIT_S)
    assert moment.fired == []


def test_a_disk_trigger_needs_a_recorded_disk(origin: Origin, reader: ConsoleReader) -> None:
    with ExitStack() as disarm, pytest.raises(UsageError, match="not recorded"):
        Moment(disarm, None, origin, reader).arm(at.writes(1))
