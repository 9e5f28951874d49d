"""pytest inside pytest, always in a process of its own: labgrid's plugin can't start twice in one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TESTS = Path(__file__).parent.parent.parent

# A rig that is not there: the session's fixture is replaced, and trials are made of observations.
CONFTEST = """
from types import SimpleNamespace

import pytest
from powercut.clients import Capability
from powercut.model import LossModel
from powercut.plugin import _STARTED
from powercut.trial import Plan, Trial
from powercut.triggers import at

@pytest.fixture(scope="session")
def _powercut_session(request):
    client = SimpleNamespace(name="ostree", can=frozenset({Capability.RESUMES}))
    rig = SimpleNamespace(client=client, setup=SimpleNamespace(claims={}))
    return SimpleNamespace(rig=rig, environment="env/board.yaml", seed=request.config.stash[_STARTED])

@pytest.fixture
def trial(powercut, tmp_path):
    def make(observation, cut=at.fraction(0.5)):
        found = Trial(Plan("base-next", "next", cut, LossModel.CACHE, "c7f2"), observation, tmp_path)
        powercut.used.append(found)
        return found
    return make
"""
TESTS_OF_A_DEVICE = """
import pytest
from powercut import at, atomic
from powercut.errors import RigError, UsageError
from powercut.model import Cut
from unit.observations import MIX, OLD, loss, seen, view
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the tests of a device that is not there."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.delenv("LG_ENV", raising=False)

    def run(tests: str, *options: str) -> pytest.RunResult:
        pytester.makeconftest(CONFTEST)
        pytester.makepyfile(TESTS_OF_A_DEVICE + tests)
        return pytester.runpytest_subprocess(*options)

    return run
