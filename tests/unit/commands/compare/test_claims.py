"""Claims: each ruling follows from the figures, and flips when they do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from powercut.commands.compare.claims import Claim, Ruling, claims, remarks, ruling
from powercut.commands.compare.figures import Comparison, CutResult, Measured, missing
from powercut.model import Outcome

from .devices import HELD, MB, comparison, ostree, rauc, stock

BROKEN = CutResult("phase:during.deploy", {"atomicity": Outcome.VIOLATED}, {"atomicity": "booted None"}, False)
UNSEEN = CutResult("phase:during.deploy", {"atomicity": Outcome.INCONCLUSIVE}, {}, None, "QEMU is gone")


def claim(key: str, *devices: Measured) -> Claim:
    return next(each for each in claims(comparison(*devices)) if each.key == key)


def without(device: Measured, *rows: str) -> Measured:
    return replace(device, figures={**device.figures, **{row: missing("bytes", "no log") for row in rows}})


def test_all_some_none_and_nothing() -> None:
    assert ruling([True, True, None]) is Ruling.HOLDS
    assert ruling([True, False]) is Ruling.DEPENDS
    assert ruling([False, None]) is Ruling.FAILS
    assert ruling([None]) is Ruling.UNTOLD
    assert ruling([]) is Ruling.UNTOLD


@pytest.mark.parametrize(
    ("key", "one", "other", "expected"),
    [
        ("space", ostree(), rauc(), Ruling.HOLDS),
        ("space", ostree(space_2=300 * MB), rauc(), Ruling.DEPENDS),  # less than two slots, more than two tight ones
        ("space", ostree(space_2=600 * MB), rauc(), Ruling.FAILS),
        ("growth", ostree(), rauc(), Ruling.HOLDS),
        ("growth", ostree(cost=2.5), rauc(), Ruling.FAILS),
        ("room", ostree(), rauc(), Ruling.HOLDS),
        ("room", ostree(peak_third=250 * MB), rauc(), Ruling.DEPENDS),
        ("room", ostree(peak_third=900 * MB), rauc(), Ruling.FAILS),
        ("collected", ostree(), rauc(), Ruling.HOLDS),
        ("collected", ostree(collected=4096), rauc(), Ruling.FAILS),
        ("diffs", ostree(), rauc(), Ruling.HOLDS),
        ("diffs", ostree(space_added=140 * MB), rauc(), Ruling.FAILS),
        ("new files", ostree(), rauc(), Ruling.HOLDS),
        ("new files", ostree(fetched_skip=70 * MB), rauc(), Ruling.DEPENDS),
        ("deltas", ostree(), rauc(), Ruling.HOLDS),
        ("deltas", ostree(fetched_next=22 * MB), rauc(), Ruling.DEPENDS),
        ("deltas", stock(), rauc(), Ruling.FAILS),
        ("resumes", ostree(), rauc(), Ruling.HOLDS),
        ("resumes", ostree(again_50=10 * MB), rauc(), Ruling.FAILS),
        ("one partition", ostree(), rauc(), Ruling.FAILS),
        ("one partition", ostree(partitions=1), rauc(), Ruling.HOLDS),
        ("back", ostree(), rauc(), Ruling.HOLDS),
        ("back", ostree(back_fetched=80 * MB), rauc(), Ruling.FAILS),
        ("versions", ostree(), rauc(), Ruling.HOLDS),
        ("versions", ostree(kept=2), rauc(), Ruling.FAILS),
    ],
)
def test_a_ruling_flips_with_its_figures(key: str, one: Measured, other: Measured, expected: Ruling) -> None:
    assert claim(key, one, other).ruling is expected


def test_what_only_the_best_configuration_keeps_depends() -> None:
    found = claim("resumes", ostree(), stock(), rauc())
    assert found.ruling is Ruling.DEPENDS
    assert "Contradicted for qemu-ostree-stock" in found.says
    assert "qemu-rauc resumed as well" in found.says


def test_nothing_is_said_of_others_that_did_not_resume() -> None:
    assert "as well" not in claim("resumes", ostree(), rauc(again_50=31 * MB)).says


@pytest.mark.parametrize("key", ["atomic", "known good"])
def test_what_both_must_guarantee_is_judged_for_both(key: str) -> None:
    assert claim(key, ostree(), rauc()).ruling is Ruling.HOLDS
    assert claim(key, ostree(), replace(rauc(), cuts=(BROKEN,))).ruling is Ruling.DEPENDS
    assert claim(key, replace(ostree(), cuts=(BROKEN,)), rauc()).ruling is Ruling.DEPENDS
    assert claim(key, replace(ostree(), cuts=(BROKEN,))).ruling is Ruling.FAILS
    assert len(claim(key, ostree(), rauc()).figures) == 2


@pytest.mark.parametrize("key", ["atomic", "known good"])
def test_a_broken_rig_breaks_no_guarantee_and_proves_none(key: str) -> None:
    held = CutResult("fraction:0.5", HELD, {}, True)
    assert claim(key, replace(ostree(), cuts=(UNSEEN,))).ruling is Ruling.UNTOLD
    assert claim(key, replace(ostree(), cuts=(UNSEEN, held))).ruling is Ruling.HOLDS
    assert "1 inconclusive" in claim("atomic", replace(ostree(), cuts=(UNSEEN, held))).figures[0]


@pytest.mark.parametrize("devices", [(ostree(),), (rauc(),)])
def test_a_comparison_of_two_families_takes_both(devices: tuple[Measured, ...]) -> None:
    assert claim("space", *devices).ruling is Ruling.UNTOLD


def test_a_missing_figure_is_no_answer() -> None:
    found = claim("new files", without(ostree(), "fetched.next", "fetched.third", "fetched.skip"), rauc())
    assert found.ruling is Ruling.UNTOLD
    assert "not measured: no log" in found.figures[0]


def test_every_figure_of_a_claim_names_the_client_and_its_version() -> None:
    told = [figure for each in claims(comparison()) for figure in each.figures]
    assert told
    assert all("(ostree 2022.7)" in figure or "(rauc 1.8)" in figure for figure in told)


def test_what_this_debian_lacks_is_said_for_what_was_measured_only() -> None:
    assert any("without streaming" in remark for remark in remarks(comparison()))
    assert not any("SWUpdate" in remark for remark in remarks(comparison()))
    newer = replace(rauc(), version="1.13")
    assert not any("streaming" in remark for remark in remarks(comparison(ostree(), newer)))
    swupdate = replace(rauc("qemu-swupdate"), client="swupdate", version="2022.12.0")
    assert any("no delta handler" in remark for remark in remarks(comparison(swupdate)))


def test_an_empty_run_claims_nothing() -> None:
    assert {each.ruling for each in claims(Comparison("0.1.0", "7", False))} == {Ruling.UNTOLD}
