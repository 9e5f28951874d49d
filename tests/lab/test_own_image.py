"""An image of one's own needs an environment and no Python: other partitions, os name, ref, prompt, a password login.

With the wheel, in an empty virtual environment, from an empty folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_S = 900

ENVIRONMENT = f"""
targets:
  main:
    drivers:
      PowercutQEMUDriver:
        machine: q35,hpet=off,vmport=off,usb=off,sata=off
        disks: [{{image: {ROOT}/build/ostree-other/disk.img}}]
      ShellDriver:
        prompt: 'acme> '
        login_prompt: 'acme login: '
        username: root
        password: pw4acme
    options:
      powercut:
        client: ostree
        repo: {ROOT}/build/ostree-other/repo
        ref: acme/prod
        releases:
          base: {{version: "1.0", commit: release/1.0}}
          next: {{version: "1.1", commit: release/1.1}}
        update: ostree config set 'remote "factory".url' {{url}}/ && ostree admin upgrade && sync && echo UPGRADED
        done: '^UPGRADED'
        confirmed: 'HEALTH: OK'
        keep: {{/etc/factory.conf: set in the factory}}
        claims: {{resumes: false}}
imports: [powercut.lab]
"""

FIVE_LINES = """
from powercut import at, atomic

def test_mine(powercut):
    seen = powercut.update("base", to="next", cut=at.phase("during.deploy"))
    assert atomic(seen)
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, and a virtual environment with nothing but the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder / "dist"), str(ROOT)])
    run([sys.executable, "-m", "venv", str(folder / "venv")])
    wheel = next((folder / "dist").glob("*.whl"))
    run([str(folder / "venv/bin/pip"), "install", "-q", str(wheel)])
    (folder / "empty").mkdir()
    return folder


def run(args: list[str], folder: Path | None = None, clean: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(args, cwd=folder, env=clean, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pytest_there(elsewhere: Path, *args: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    line = [str(elsewhere / "venv/bin/python"), "-m", "pytest", "-p", "no:cacheprovider", "--lg-env", "my.yaml", *args]
    return run(line, elsewhere / "empty", clean)


def test_the_suite_and_a_five_line_test_run_on_it(elsewhere: Path) -> None:
    (elsewhere / "empty/my.yaml").write_text(ENVIRONMENT)
    (elsewhere / "empty/test_mine.py").write_text(FIVE_LINES)
    told = pytest_there(
        elsewhere, "--pyargs", "powercut.conformance", "-k", "(fraction:0.5 or after.done) and not back"
    )

    assert "atomicity holds, user data holds" in told
    assert "4 passed, 1 skipped" in told
    assert "1 passed" in pytest_there(elsewhere, "test_mine.py")
