"""A serial port of the host as console: the reader owns the bytes, pexpect waits through labgrid."""

from __future__ import annotations

import os
import threading
import tty
from pathlib import Path

from labgrid import Environment

ENVIRONMENT = """
targets:
  main:
    resources: {{RawSerialPort: {{port: {port}, speed: 115200}}}}
    drivers: {{PowercutSerialDriver: {{}}}}
imports: [powercut.lab]
"""


def test_lines_are_stamped_watched_and_waited_for(tmp_path: Path) -> None:
    board, port = os.openpty()
    tty.setraw(board)
    (tmp_path / "board.yaml").write_text(ENVIRONMENT.format(port=os.ttyname(port)))
    console = Environment(str(tmp_path / "board.yaml")).get_target().get_driver("PowercutSerialDriver")
    seen = threading.Event()
    console.reader.watch("Deploying", lambda _line: seen.set())

    os.write(board, b"U-Boot\r\nDeploying 1.1\r\nlogin: ")
    _, before, _, _ = console.expect("login: ", timeout=5)
    console.sendline("root")

    assert seen.wait(5)
    assert b"Deploying 1.1" in before
    assert os.read(board, 100) == b"root\n"
    assert [line.text for line in console.reader.lines()] == ["U-Boot", "Deploying 1.1", "login: "]
    console.target.deactivate(console)
