"""Menus as the boot loader reads them; whole disks are in test_judge.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.integrity.bootloader import BootEntry, parse_entries, parse_grub_config, said_otherwise

CONFIG = b"""set id0='bbbb.0'
menuentry 'Device 1.1 (ostree:0)' --id 'e0' {
  linux /ostree/os-b/vmlinuz-6.1 root=/dev/vda2 ostree=/ostree/boot.1/os/b/0 boot.tries=$tries
  initrd /ostree/os-b/initramfs-6.1.img
}
set id1='aaaa.0'
menuentry 'Device 1.0 (ostree:1)' --id 'e1' { linux /ostree/os-a/vmlinuz-6.1 ostree=/ostree/boot.1/os/a/0
}
"""
ENTRIES = {
    "ostree-1-os.conf": b"title one\nversion 1\noptions root=x ostree=/ostree/boot.1/os/a/0\nlinux /a\ninitrd /ia\n",
    "ostree-10-os.conf": b"title ten\nversion 10\noptions ostree=/ostree/boot.1/os/c/0\nlinux /c\n",
    "ostree-2-os.conf": b"title two\nversion 2\noptions ostree=/ostree/boot.1/os/b/0\nlinux /b\n",
}


def test_the_entries_of_a_grub_config_are_in_its_order() -> None:
    menu = parse_grub_config(CONFIG)
    assert menu.problems == ()
    assert menu.entries == (
        BootEntry("/ostree/os-b/vmlinuz-6.1", "/ostree/os-b/initramfs-6.1.img", "/ostree/boot.1/os/b/0", "bbbb.0"),
        BootEntry("/ostree/os-a/vmlinuz-6.1", None, "/ostree/boot.1/os/a/0", "aaaa.0"),
    )


def test_boot_loader_entries_come_with_the_highest_version_first() -> None:
    menu = parse_entries(ENTRIES)
    assert [entry.kernel for entry in menu.entries] == ["/c", "/b", "/a"]
    assert menu.entries[2] == BootEntry("/a", "/ia", "/ostree/boot.1/os/a/0")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        pytest.param(b"", "no entry", id="empty"),
        pytest.param(CONFIG[:100], "ends in the middle", id="cut off in an entry"),
        pytest.param(CONFIG[:205], "ends in the middle", id="cut off behind one"),
        pytest.param(CONFIG + bytes(512), f"zeros from byte {len(CONFIG)}", id="zeros behind"),
    ],
)
def test_a_damaged_config_is_a_problem(config: bytes, says: str) -> None:
    assert says in " ".join(parse_grub_config(config).problems)


def test_damaged_entries_are_a_problem() -> None:
    assert parse_entries({}).problems == ("there is no boot loader entry",)
    assert parse_entries({"a.conf": bytes(100)}).problems == ("a.conf holds zeros",)


def test_a_script_that_goes_by_another_deployment_than_it_boots_is_a_problem() -> None:
    entries = parse_grub_config(CONFIG).entries
    assert said_otherwise(entries, ["bbbb.0", "aaaa.0"]) == ()
    assert said_otherwise(entries, ["bbbb.0", None]) == ()
    assert said_otherwise(entries, ["aaaa.0", "aaaa.0"]) == ("grub.cfg calls entry 0 bbbb.0, but it boots aaaa.0",)


@given(st.binary(), st.integers(0, len(CONFIG)))
def test_any_bytes_are_an_answer(raw: bytes, at: int) -> None:
    parse_grub_config(CONFIG[:at] + raw + CONFIG[at:])
    parse_entries({"a.conf": raw})
