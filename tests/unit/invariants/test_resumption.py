"""What had arrived before a cut is not fetched again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.invariants import resumption
from powercut.model import Fetched, Observation, Outcome
from tests.unit.observations import seen, update

MB = 1_000_000


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(2 * MB, 2 * MB, id="nothing again"),
        pytest.param(2 * MB, 2 * MB + 100_000, id="as much as is allowed"),
        pytest.param(2 * MB, MB, id="less than the whole"),
    ],
)
def test_it_holds_and_tells_the_figures(before: int, after: int) -> None:
    verdict = resumption(seen(fetched=Fetched(before, after, 4 * MB)))
    assert verdict.outcome is Outcome.HOLDS
    assert f"{before} bytes sent before the cut, {after} after it" in verdict.evidence[0]


@pytest.mark.parametrize(
    ("bad", "reason", "evidence"),
    [
        pytest.param(
            seen(fetched=Fetched(2 * MB, 2 * MB + 100_001, 4 * MB)), "fetched again", "100001 bytes fetched again (5%)",
            id="one byte more than allowed",
        ),
        pytest.param(
            seen(fetched=Fetched(2 * MB, 4 * MB, 4 * MB)), "fetched again", "2000000 bytes fetched again (100%)",
            id="everything",
        ),
        pytest.param(seen(retries=(update(done=False),)), "never completed", "", id="never completed"),
        pytest.param(seen(retries=()), "never completed", "", id="not tried again"),
    ],
)  # fmt: skip
def test_it_is_violated(bad: Observation, reason: str, evidence: str) -> None:
    verdict = resumption(bad)
    assert verdict.outcome is Outcome.VIOLATED
    assert reason in verdict.reason
    assert evidence in "\n".join(verdict.evidence)


@pytest.mark.parametrize(
    ("unsure", "reason"),
    [
        pytest.param(seen(rig_fault="the console dropped"), "the console dropped", id="rig fault"),
        pytest.param(seen(cut=None), "the cut did not happen", id="no cut"),
        pytest.param(seen(fetched=None), "no ledger", id="no ledger"),
        pytest.param(
            seen(fetched=Fetched(100_000, 4 * MB, 4 * MB)), "only 100000 bytes had been sent", id="too little fetched"
        ),
        pytest.param(
            seen(rig_alive=False, retries=(update(done=False),)), "the rig may be to blame", id="the rig died meanwhile"
        ),
    ],
)
def test_it_is_inconclusive(unsure: Observation, reason: str) -> None:
    verdict = resumption(unsure)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert reason in verdict.reason


@given(st.integers(0, 5 * MB), st.integers(0, 5 * MB), st.integers(1, 5 * MB))
def test_it_is_a_matter_of_three_numbers(before: int, after: int, whole: int) -> None:
    verdict = resumption(seen(fetched=Fetched(before, after, whole)))
    again = max(0, before + after - whole)
    expected = Outcome.INCONCLUSIVE if before <= 100_000 else Outcome.VIOLATED if again > 100_000 else Outcome.HOLDS
    assert verdict.outcome is expected
