"""The environment block as grub-editenv writes it, and the decision of the reference device's boot script."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.environment import BootEnvironment
from powercut.integrity.grubenv import BLOCK_BYTES, Block, decide, parse_block

NAMES = BootEnvironment(partition=3, file="/grubenv")
NEW, OLD = "b" * 64 + ".0", "a" * 64 + ".0"
WHOLE = b"# GRUB Environment Block\ngood=a\ntries=0\n".ljust(BLOCK_BYTES, b"#")


def test_a_block_that_grub_editenv_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "grubenv"
    subprocess.run(["grub-editenv", path, "create"], check=True, timeout=30)
    subprocess.run(["grub-editenv", path, "set", "good=a b", "trial=", "odd=back\\slash"], check=True, timeout=30)
    assert parse_block(path.read_bytes()) == Block((("good", "a b"), ("trial", ""), ("odd", "back\\slash")))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        pytest.param(bytes(1024), "begins", id="zeros"),
        pytest.param(b"", "begins", id="empty"),
        pytest.param(WHOLE[:512], "of 512 bytes", id="cut off"),
        pytest.param(WHOLE + b"#", "of 1025 bytes", id="too long"),
        pytest.param(WHOLE.replace(b"tries=0", b"tries:0"), "line b'tries:0'", id="no value"),
        pytest.param(WHOLE.replace(b"=0", b"=\0"), r"line b'tries=\\x00'", id="zero byte"),
        pytest.param(WHOLE.replace(b"tries", b"=ries"), "line b'=ries=0'", id="no name"),
        pytest.param(WHOLE.replace(b"tries=0", b"good=bb"), "good twice", id="twice"),
        pytest.param(WHOLE[:-3] + b"abc", "padded with b'abc'", id="padding"),
        pytest.param(WHOLE.replace(b"0\n###", b"0\n#\0#"), "padded", id="zeros in the padding"),
        pytest.param(WHOLE.replace(b"0\n#", b"0\n\n"), "line b''", id="empty line"),
    ],
)
def test_what_grub_would_not_write_is_a_problem(raw: bytes, says: str) -> None:
    block = parse_block(raw)
    assert len(block.problems) == 1
    assert says.replace("\\\\", "\\") in block.problems[0]


def test_without_its_signature_a_block_has_no_variables() -> None:
    assert parse_block(b"!" + WHOLE[1:]).variables == ()


@given(st.binary(max_size=1100))
def test_any_bytes_are_an_answer(raw: bytes) -> None:
    parse_block(raw)
    parse_block(WHOLE[:30] + raw)


@pytest.mark.parametrize(
    ("good", "trial", "tries", "entry", "counted"),
    [
        pytest.param(NEW, "", "0", 0, "0", id="confirmed"),
        pytest.param(NEW, NEW, "2", 0, "0", id="confirmed, its tries not yet reset"),
        pytest.param(OLD, "", "0", 0, "1", id="new"),
        pytest.param(OLD, OLD, "3", 0, "1", id="a new one starts its count anew"),
        pytest.param(OLD, NEW, "0", 0, "1", id="on trial, not booted yet"),
        pytest.param(OLD, NEW, "1", 0, "2", id="first try failed"),
        pytest.param(OLD, NEW, "2", 0, "3", id="second try failed"),
        pytest.param(OLD, NEW, "3", 1, "X", id="third try failed"),
        pytest.param(OLD, NEW, "X", 1, "X", id="used up"),
    ],
)
def test_a_new_deployment_has_three_tries(good: str, trial: str, tries: str, entry: int, counted: str) -> None:
    decision = decide([NEW, OLD], {"good": good, "trial": trial, "tries": tries}, NAMES)
    assert (decision.entry, decision.tries, decision.problems) == (entry, counted, ())


def test_with_one_deployment_there_is_nothing_to_fall_back_to() -> None:
    assert decide([NEW], {"good": "", "trial": NEW, "tries": "3"}, NAMES).entry == 0


def test_an_empty_environment_starts_a_trial() -> None:
    decision = decide([NEW, OLD], {}, NAMES)
    assert (decision.entry, decision.tries, decision.problems) == (0, "1", ())


def test_a_good_deployment_that_cannot_boot_is_a_contradiction() -> None:
    assert "names no deployment" in decide([NEW], {"good": OLD}, NAMES).problems[0]


@pytest.mark.parametrize("tries", ["4", "-1", "x", "00"])
def test_a_count_that_cannot_be_is_a_contradiction_and_counts_as_used_up(tries: str) -> None:
    decision = decide([NEW, OLD], {"good": OLD, "trial": NEW, "tries": tries}, NAMES)
    assert (decision.entry, decision.problems) == (1, (f"tries={tries!r} is no count of tries",))


def test_the_number_of_tries_and_the_names_are_the_devices_own() -> None:
    names = BootEnvironment(3, "/grubenv", good="ok", trial="newest", tries="count", at_most=1)
    assert decide([NEW, OLD], {"ok": OLD, "newest": NEW, "count": "0"}, names).entry == 0
    assert decide([NEW, OLD], {"ok": OLD, "newest": NEW, "count": "1"}, names).entry == 1


def test_of_several_deployments_the_confirmed_one_is_fallen_back_to() -> None:
    names, bad = BootEnvironment(3, "/grubenv"), "c" * 64 + ".0"
    used_up = {"good": OLD, "trial": NEW, "tries": "3"}
    assert decide([NEW, bad, OLD], used_up, names).entry == 2
    assert decide([NEW, bad], {**used_up, "good": ""}, names).entry == 1
