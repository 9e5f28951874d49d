"""What a device says of its repository, in the words of the script that it runs."""

from __future__ import annotations

import pytest

from powercut.clients.stored import parse_stored
from powercut.errors import RigError

A, B = "a" * 62, "b" * 62
SAID = f"""\
space 1000 4096
object 11 500 0f/{A}.file
object 12 20 1e/{B}.commit
object 13 9 1e/{B}.commitmeta
object 14 9 1e/not-an-object
partial {B}.commitpartial
staging staging-1-x
deployment 1e{B}.0
file 11 500 1e{B}.0 bin/app with a blank
file 15 0 1e{B}.0 bin/empty
deployment 0f{A}.1
file 11 500 0f{A}.1 bin/app
find: no such thing
"""


def test_objects_files_and_what_is_unfinished_are_read() -> None:
    stored = parse_stored(SAID)
    assert stored.free_bytes == 4096000
    assert stored.objects == {
        f"0f{A}.file": (11, 500),
        f"1e{B}.commit": (12, 20),
        f"1e{B}.commitmeta": (13, 9),
    }
    assert stored.files == {f"1e{B}.0": {"bin/app with a blank": 11}, f"0f{A}.1": {"bin/app": 11}}
    assert stored.partial == (f"{B}.commitpartial",)
    assert stored.staging == ("staging-1-x",)
    assert stored.object_bytes == 529


@pytest.mark.parametrize("text", ["", "object 1 2 aa/bb.file\n", "stat: not found\n"])
def test_a_listing_without_its_beginning_is_not_guessed(text: str) -> None:
    with pytest.raises(RigError, match="no beginning of a listing"):
        parse_stored(text)
