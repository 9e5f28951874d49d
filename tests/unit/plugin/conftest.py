"""pytest inside pytest: without labgrid's plugin, which can't start twice in a process, or in one of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import powercut.harness  # noqa: F401  (once for all inner runs, which forget what they import)

ROOT = Path(__file__).parent.parent.parent.parent

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
    cannot = {Capability.COLLECTS: "why"}
    client = SimpleNamespace(name="ostree", can=frozenset({Capability.RESUMES}), cannot=cannot, repository=None)
    has = dict.fromkeys(("rollback", "retention", "metadata", "record", "downloads_to"))
    rig = SimpleNamespace(client=client, setup=SimpleNamespace(claims={}, **has))
    upkeep = SimpleNamespace(aside=None, place="here")
    return SimpleNamespace(rig=rig, upkeep=upkeep, environment="env/board.yaml", seed=request.config.stash[_STARTED])

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
from tests.unit.observations import MIX, OLD, loss, seen, view
"""

WITHOUT_LABGRID = ("-p", "no:labgrid", "-p", "no:hypothesispytest")
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the tests of a device that is not there."""
    monkeypatch.delenv("LG_ENV", raising=False)

    def run(tests: str, *options: str) -> pytest.RunResult:
        pytester.makeconftest(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{CONFTEST}")
        pytester.makepyfile(TESTS_OF_A_DEVICE + tests)
        return pytester.runpytest_inprocess(*WITHOUT_LABGRID, *options)

    return run
