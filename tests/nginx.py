"""A real update server for tests: Debian's nginx, the system's or what tools/lib/lab-packages unpacked."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from powercut.clock import MonotonicClock, poll
from powercut.lab.saves import cache_folder

START_LIMIT_S = 10.0
CONF = """\
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{ listen 127.0.0.1:{port}{ssl}; root {root}; }}
}}
"""
TLS = " ssl; ssl_certificate {pair}; ssl_certificate_key {pair}"


@contextmanager
def nginx(folder: Path, root: Path, pair: Path | None = None) -> Iterator[int]:
    """nginx over `root`, with its own files in `folder`; the port that it listens on. `pair`: key and certificate."""
    unpacked = sorted((cache_folder() / "lab-packages").glob("*/bin/nginx"))
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin") or (str(unpacked[0]) if unpacked else None)
    if program is None:
        pytest.skip("no nginx: tools/lib/lab-packages unpacks one")
    folder.mkdir()
    port, said = free_port(), folder / "error.log"
    ssl = TLS.format(pair=pair) if pair is not None else ""
    (folder / "conf").write_text(CONF.format(folder=folder, port=port, ssl=ssl, root=root))
    with (
        said.open("ab") as errors,
        subprocess.Popen([program, "-p", str(folder), "-c", "conf"], stderr=errors) as server,
    ):
        try:
            assert poll(lambda: _listens(port), MonotonicClock(), limit_s=START_LIMIT_S), said.read_text()
            yield port
        finally:
            server.terminate()


def free_port() -> int:
    """A port of the loopback address that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        return int(unused.getsockname()[1])


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), START_LIMIT_S):
        return True
    return False
