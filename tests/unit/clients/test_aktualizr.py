"""aktualizr's lines, as its source has them and runs of it showed them."""

from __future__ import annotations

import pytest

from powercut.clients import CLIENTS, Capability
from powercut.clients.aktualizr import Aktualizr, Info, Once, parse_info, parse_once
from powercut.errors import RigError
from powercut.uptane import Shape

OLD, NEW = "7c" * 32, "d7" * 32

# `aktualizr once` that installs, without the lines that say nothing of its result
INSTALLED = """\
New updates found in Director metadata. Checking Image repo metadata...
1 new update found in both Director and Image repo metadata.
ostree-pull: 7 metadata, 2 content objects fetched; 1 KiB transferred in 0 seconds
got DownloadTargetComplete event
got AllDownloadsComplete event with status: "Success"
Installing package using ostree package manager
got AllInstallsComplete event with status: "NEED_COMPLETION":21
""".splitlines()
FAILED = [*INSTALLED[:-1], 'got AllInstallsComplete event with status: "board:INSTALL_FAILED":4']
NOT_DOWNLOADED = [*INSTALLED[:2], 'got AllDownloadsComplete event with status: "Error"']
NOTHING_NEW = ['got AllDownloadsComplete event with status: "Nothing to download"']
ROLLED_BACK = [
    "Pending update for Primary ECU was found, trying to apply it...",
    "Checking installation of new OSTree sysroot",
    f"Expected to boot {NEW} but found {OLD}. The system may have been rolled back.",
]
BAD_METADATA = ['Failed to update Director metadata: invalid targets.json']  # fmt: skip

INFO = f"""\
Device ID: device-7
Primary ECU serial ID: car-7
Primary ECU hardware ID: board
No Secondary ECUs reported to Device Gateway
Provisioned on server: yes
Fetched metadata: yes
Current Primary ECU running version: {OLD}
Pending Primary ECU version: {NEW}
"""
NO_VERSION = "No currently running version on Primary ECU"


@pytest.mark.parametrize(
    ("lines", "once", "code"),
    [
        pytest.param(INSTALLED, Once("Success", "NEED_COMPLETION"), 0, id="installed"),
        pytest.param(FAILED, Once("Success", "INSTALL_FAILED"), 1, id="failed"),
        pytest.param(NOT_DOWNLOADED, Once("Error"), 1, id="not downloaded"),
        pytest.param(NOTHING_NEW, Once("Nothing to download"), 1, id="nothing new"),
        pytest.param(ROLLED_BACK, Once(), 1, id="rolled back"),
        pytest.param([*ROLLED_BACK, *INSTALLED], Once("Success", "NEED_COMPLETION"), 0, id="and installed again"),
        pytest.param(BAD_METADATA, Once(), 1, id="bad metadata"),
        pytest.param([], Once(), 1, id="nothing said"),
        pytest.param(INSTALLED[:-1], Once("Success"), 1, id="cut off"),
    ],
)
def test_its_lines_say_how_it_ended_where_its_exit_code_is_always_0(lines: list[str], once: Once, code: int) -> None:
    assert parse_once(lines) == once
    assert judged(lines) == code


def judged(lines: list[str], exit_code: int = 0) -> int:
    client = Aktualizr.__new__(Aktualizr)
    return client.judged(exit_code, lines)


def test_an_exit_code_that_says_something_is_kept() -> None:
    assert judged(INSTALLED, 134) == 134


def test_a_kernel_line_between_the_lines_does_no_harm() -> None:
    assert parse_once(["[   17.4] random: crng init done", *INSTALLED]).installed


def test_a_line_that_a_kernel_line_tore_is_not_guessed() -> None:
    torn = INSTALLED[-1].replace('status: "NEED', "status: [   17.4] random: crng init done")
    assert not parse_once([*INSTALLED[:-1], torn]).installed


@pytest.mark.parametrize("text", [INFO, INFO.replace("\n", "\r\n")], ids=["file", "terminal"])
def test_info_names_what_runs_and_what_waits(text: str) -> None:
    assert parse_info(text) == Info("car-7", OLD, NEW)


def test_without_an_update_nothing_waits() -> None:
    assert parse_info(INFO[: INFO.index("Pending")]) == Info("car-7", OLD)


def test_before_the_first_update_was_seen_nothing_runs_by_its_own_account() -> None:
    assert parse_info(INFO.replace("Current Primary ECU running version: " + OLD, NO_VERSION)) == Info(
        "car-7", None, NEW
    )


def test_a_commit_that_was_cut_off_is_not_guessed() -> None:
    assert parse_info(INFO[: INFO.index("Pending") - 20]) == Info("car-7")


@pytest.mark.parametrize("text", ["", "Error: Can't open database: unable to open database file\r\n", INFO[:40]])
def test_info_that_names_no_ecu_is_quoted(text: str) -> None:
    with pytest.raises(RigError, match="aktualizr-info names no ECU"):
        parse_info(text)


def test_it_is_a_client_with_claims_and_a_shape_of_its_own() -> None:
    assert CLIENTS["aktualizr"] is Aktualizr
    assert Aktualizr.shape is Shape.AKTUALIZR
    assert {Capability.CHECKS, Capability.RECORDS} < Aktualizr.can
    assert Capability.RESUMES not in Aktualizr.can
