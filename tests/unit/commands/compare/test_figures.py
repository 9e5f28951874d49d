"""Figures: what is missing is never 0, and what is computed tells its formula."""

from __future__ import annotations

import pytest

from powercut.commands.compare.derived import completed
from powercut.commands.compare.figures import (
    ROWS,
    Basis,
    CutResult,
    Family,
    Figure,
    Measured,
    amount,
    measured,
    missing,
    unit_of,
)
from powercut.commands.compare.routes import Notebook, parse_space
from powercut.commands.compare.versions import UNKNOWN, parse_version
from powercut.errors import RigError
from powercut.model import Outcome

from .devices import MB, ostree, rauc

BARE = Measured("bare", Family.OBJECTS, "ostree", "2022.7", "ostree admin upgrade")


def test_a_missing_figure_has_no_value_and_says_why() -> None:
    assert missing("bytes", "no log").value is None
    assert str(missing("bytes", "no log")) == "not measured: no log"
    with pytest.raises(AssertionError):
        missing("bytes", "")
    with pytest.raises(AssertionError):
        Figure(0.0, "bytes", Basis.MISSING, "no log")
    with pytest.raises(AssertionError):
        Figure(None, "bytes", Basis.MEASURED)


def test_a_row_that_nobody_took_is_missing_and_not_zero() -> None:
    assert BARE["fetched.next"].value is None
    assert "this run did not come to it" in str(BARE["fetched.next"])


def test_a_measured_zero_is_one() -> None:
    assert str(measured(0, "bytes")) == "0 B"


@pytest.mark.parametrize(
    ("value", "unit", "says"),
    [
        (512, "bytes", "512 B"),
        (15_360, "bytes", "15.4 kB"),
        (62 * MB, "bytes", "62.0 MB"),
        (2_500 * MB, "bytes", "2.5 GB"),
        (-1_500_000, "bytes", "-1.5 MB"),
        (8.04, "s", "8.0 s"),
        (1.046, "x", "1.05 x"),
        (3, "partitions", "3 partitions"),
        (1, "yes or no", "yes"),
    ],
)
def test_a_value_is_shown_in_its_unit(value: float, unit: str, says: str) -> None:
    assert amount(value, unit) == says


def test_what_is_not_measured_says_where_it_comes_from() -> None:
    assert str(rauc()["space.2"]).endswith("(by nature)")
    assert str(rauc()["space.tight"]).endswith("(computed)")


def test_room_in_two_slots_grows_twice_and_with_the_download() -> None:
    room = rauc()["room.0.5"]
    assert room.value == pytest.approx(1.5 * (2 * 128 * MB + 64 * MB))
    assert "2 x 128,000,000 in the slots + 64,000,000" in room.note


def test_room_in_a_store_grows_once() -> None:
    room = ostree()["room.0.5"]
    assert room.value == pytest.approx(170 * MB + 66 * MB + 0.5 * 130 * MB)
    assert room.basis is Basis.COMPUTED


def test_growth_that_fits_is_that_of_a_slot_or_of_the_file_system() -> None:
    assert rauc()["growth"].value == pytest.approx(1.0)
    assert ostree()["growth"].value == pytest.approx((900 - 170 - 66) / 130)


def test_a_formula_without_its_figures_names_the_one_it_lacks() -> None:
    found = completed(Family.SLOTS, {"space.1": measured(128 * MB, "bytes")}, "inconclusive: QEMU is gone")
    assert found["room.1"].value is None
    assert "room taken at most" in found["room.1"].note
    assert "QEMU is gone" in found["room.1"].note


@pytest.mark.parametrize("family", list(Family))
def test_every_row_has_a_figure_for_each_kind_of_device(family: Family) -> None:
    found = completed(family, {}, "no device")
    assert {row.key for row in ROWS} <= found.keys()
    assert all(figure.unit == unit_of(key) for key, figure in found.items())


def test_what_two_slots_can_not_is_said_with_its_reason() -> None:
    assert "two slots" in rauc()["space.5"].note
    assert "nothing to be collected" in rauc()["collected"].note


def test_a_figure_that_was_noted_is_not_taken_away_by_what_comes_later() -> None:
    book = Notebook()
    book.note("fetched.next", 9 * MB)
    book.lacks("the rig broke", "fetched.next", "fetched.third")
    assert book.value("fetched.next") == 9 * MB
    assert book.figures["fetched.third"].note == "the rig broke"


def test_cuts_are_counted_by_outcome_and_one_that_was_not_made_is_inconclusive() -> None:
    cuts = (
        CutResult("fraction:0.5", {"atomicity": Outcome.HOLDS, "resumption": Outcome.VIOLATED}),
        CutResult("phase:during.deploy", {"atomicity": Outcome.VIOLATED}),
        CutResult("fraction:0.75", fault="QEMU is gone"),
    )
    tally = Measured("a", Family.OBJECTS, "ostree", "1", "", cuts=cuts).tally()
    assert tally == {Outcome.HOLDS: 1, Outcome.VIOLATED: 1, Outcome.INCONCLUSIVE: 1}


def test_space_is_read_per_file_system() -> None:
    found = parse_space(
        "space / 65026 1000 400 4096\r\nspace /boot 77 100 50 1024\r\nspace /var 65026 1000 400 4096\r\n"
    )
    assert found["/"].size - found["/"].free == 600 * 4096
    assert found["/var"].id == found["/"].id != found["/boot"].id


def test_a_device_that_does_not_tell_its_space_is_a_fault_of_the_rig() -> None:
    with pytest.raises(RigError, match="stat: not found"):
        parse_space("sh: stat: not found")


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("libostree:\n Version: '2022.7'\n Git: 15740d0\n Features:\n  - libcurl\n", "2022.7"),
        ("rauc 1.8", "1.8"),
        ("SWUpdate v2022.12.0\n\nLicensed under GPLv2.", "2022.12.0"),
        ("3.4.0\truntime: go1.19.8\n", "3.4.0"),
        ("sh: rauc: not found", UNKNOWN),
    ],
)
def test_a_version_is_the_first_in_what_the_client_says(said: str, version: str) -> None:
    assert parse_version(said) == version
