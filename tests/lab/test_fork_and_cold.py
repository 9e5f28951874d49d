"""A forked device and one that boots cold give the same verdicts, on a good device and on a stock one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from powercut import at
from powercut.model import LossModel, Outcome
from powercut.rig import Rig
from powercut.trial import Plan, run_trial

CUT = at.fraction(0.5)
EXPECTED = {
    "qemu-ostree": {"atomicity": Outcome.HOLDS, "resumption": Outcome.HOLDS},
    "qemu-ostree-stock": {"atomicity": Outcome.HOLDS, "resumption": Outcome.VIOLATED},
}


@pytest.mark.parametrize("fork", [True, False], ids=["forked", "cold"])
@pytest.mark.parametrize("name", list(EXPECTED))
def test_the_verdicts_do_not_depend_on_forking(
    variant: Callable[..., Rig], tmp_path: Path, name: str, fork: bool
) -> None:
    rig = variant(name, driver={"fork": fork})
    trial = run_trial(rig, Plan("verdicts", "next", CUT, LossModel.CACHE, "5"), tmp_path)

    assert trial.seen.rig_fault is None
    assert {name: trial.judge(name).outcome for name in ("atomicity", "resumption")} == EXPECTED[name]
    assert ("forked" in trial.seen.notes) == fork
