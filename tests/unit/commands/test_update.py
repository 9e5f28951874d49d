"""What the doctor lets a board fetch, in a shell of this host."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from powercut.clock import MonotonicClock
from powercut.commands.doctor.update import NO_TOOL, fetch
from powercut.origin.content import Content
from powercut.origin.server import Origin


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """An origin that has one file."""
    origin = Origin(MonotonicClock())
    origin.offer(Content(tmp_path, {"/a file": b"well\n"}))
    with origin.listen(("127.0.0.1", 0)) as url:
        yield url


def run(command: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", command], env={"PATH": path}, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("tool", ["curl", "wget"])
def test_it_takes_the_tool_that_is_there(tool: str, url: str, tmp_path: Path) -> None:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"no {tool}")
    (tmp_path / tool).symlink_to(found)
    done = run(fetch(f"{url}/a%20file", None, False), str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "well\n")


def test_without_a_tool_it_says_so_by_its_status(url: str, tmp_path: Path) -> None:
    assert run(fetch(f"{url}/a%20file", None, False), str(tmp_path)).returncode == NO_TOOL


def test_what_a_relay_leads_to_only_has_to_answer(url: str) -> None:
    done = run(fetch(f"{url}/nowhere", None, True), "/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (0, "")
