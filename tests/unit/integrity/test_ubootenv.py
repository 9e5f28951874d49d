"""One copy of U-Boot's environment: it is as it was written, or it is none."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.integrity.ubootenv import parse_copy

SIZE = 512
VARIABLES = {"bootcmd": "run a; run b=1", "gen": "old"}


def copy(variables: dict[str, str], flag: bytes = b"") -> bytes:
    """As U-Boot's env_export writes it."""
    text = "".join(f"{name}={value}\0" for name, value in variables.items()) + "\0"
    data = text.encode().ljust(SIZE - 4 - len(flag), b"\0")
    return struct.pack("<I", zlib.crc32(data)) + flag + data


def test_a_copy_reads_as_it_was_written() -> None:
    assert parse_copy(copy(VARIABLES), redundant=False) == VARIABLES


@pytest.mark.parametrize("flag", [b"\0", b"\1"])
def test_the_flag_of_a_redundant_copy_does_not_change_what_it_says(flag: bytes) -> None:
    assert parse_copy(copy(VARIABLES, flag), redundant=True) == VARIABLES


def test_an_environment_without_variables_is_one() -> None:
    assert parse_copy(copy({}), redundant=False) == {}


@given(at=st.integers(4, SIZE - 1), bits=st.integers(1, 255))
def test_a_changed_byte_leaves_no_copy(at: int, bits: int) -> None:
    raw = bytearray(copy(VARIABLES))
    raw[at] ^= bits
    assert parse_copy(bytes(raw), redundant=False) is None


@pytest.mark.parametrize("raw", [b"", b"\0", bytes(4), bytes(SIZE), b"\xff" * SIZE, copy(VARIABLES)[:-1]])
def test_an_erased_an_empty_and_a_short_copy_are_none(raw: bytes) -> None:
    assert parse_copy(raw, redundant=False) is None
    assert parse_copy(raw, redundant=True) is None


def test_a_copy_of_the_other_kind_is_none() -> None:
    assert parse_copy(copy(VARIABLES), redundant=True) is None
    assert parse_copy(copy(VARIABLES, b"\1"), redundant=False) is None
