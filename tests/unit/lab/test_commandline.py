"""QEMU's command line: what records soundly, what the guest reaches, and what makes two boards equal."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powercut.lab.commandline import Drive, Machine, Sockets, command, drive_args, escaped, identity, network_args

BOARD = Machine("qemu-system-x86_64", "q35", "qemu64", "512M", "tcg")
DRIVE = Drive(Path("/run/disk0.qcow2"), Path("/run/disk0.log"))
SOCKETS = Sockets(Path("/run/console.sock"), Path("/run/monitor.sock"), Path("/run/origin.sock"))
paths = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="/,.- "), min_size=1).map(Path)


def options(args: list[str], name: str) -> list[str]:
    """The values of every `-name`."""
    return [value for key, value in pairwise(args) if key == f"-{name}"]


def test_every_block_node_passes_discards_on_and_every_file_is_written_without_waiting() -> None:
    nodes = options(drive_args(0, DRIVE), "blockdev")
    assert [node.split(",")[0] for node in nodes] == [
        "driver=file", "driver=qcow2", "driver=file", "driver=blklogwrites",
    ]  # fmt: skip
    assert all("discard=unmap" in node for node in nodes if "logfile0" not in node.split(",")[2])
    assert all("cache.no-flush=on" in node for node in nodes if node.startswith("driver=file"))


def test_a_recorded_disk_hangs_on_its_log_and_has_a_write_cache() -> None:
    assert options(drive_args(2, DRIVE), "device") == ["virtio-blk-pci,drive=log2,id=disk2,bootindex=2,write-cache=on"]


def test_a_disk_that_is_not_recorded_has_no_log() -> None:
    args = drive_args(0, replace(DRIVE, log=None))
    assert "blklogwrites" not in " ".join(args)
    assert options(args, "device") == ["virtio-blk-pci,drive=image0,id=disk0,bootindex=0,write-cache=on"]


@pytest.mark.parametrize("device", ["sdhci-pci", "usb-storage"])
def test_a_device_that_knows_no_write_cache_is_not_asked_for_one(device: str) -> None:
    assert "write-cache" not in " ".join(drive_args(0, Drive(Path("/d"), None, device)))


def test_a_bank_of_flash_hangs_on_the_machine_and_on_its_log() -> None:
    drives = [DRIVE, replace(DRIVE, device="pflash1"), replace(DRIVE, device="pflash0", log=None)]
    args = command(BOARD, drives, SOCKETS)
    assert options(args, "machine") == ["q35,pflash1=log1,pflash0=image2"]
    assert [device.split(",")[0] for device in options(args, "device")] == ["virtio-blk-pci", "virtio-net-pci"]


def test_the_guest_reaches_the_origin_and_nothing_else() -> None:
    network = options(network_args(BOARD, SOCKETS), "netdev")[0]
    assert "restrict=on" in network
    assert "guestfwd=tcp:10.0.2.100:80-cmd:socat -t 30 - UNIX-CONNECT:/run/origin.sock" in network
    assert "hostfwd" not in network


def test_a_push_reaches_the_guests_ssh_server_from_this_host_only() -> None:
    network = options(network_args(BOARD, replace(SOCKETS, ssh_port=2222)), "netdev")[0]
    assert network.endswith("hostfwd=tcp:127.0.0.1:2222-10.0.2.15:22")


def test_a_board_without_a_network_has_none() -> None:
    assert network_args(replace(BOARD, network=False), SOCKETS) == []


def test_a_reset_of_the_guest_ends_the_process_and_the_guest_waits_to_be_started() -> None:
    args = command(BOARD, [DRIVE], SOCKETS)
    assert {"-no-reboot", "-S", "-nodefaults", "-no-user-config"} <= set(args)
    assert "-incoming" not in args


def test_memory_is_shared_for_the_save_and_private_for_a_fork() -> None:
    saved = command(BOARD, [DRIVE], SOCKETS, ram=Path("/ram"), shared=True)
    forked = command(BOARD, [DRIVE], SOCKETS, ram=Path("/ram"), incoming=True)
    assert options(saved, "object") == ["memory-backend-file,id=ram0,size=512M,mem-path=/ram,share=on"]
    assert options(forked, "object") == ["memory-backend-file,id=ram0,size=512M,mem-path=/ram,share=off"]
    assert options(forked, "incoming") == ["defer"]
    assert options(forked, "machine") == ["q35,memory-backend=ram0"]


def test_extra_arguments_are_split_as_a_shell_does() -> None:
    args = command(replace(BOARD, extra_args="-device 'virtio-rng-pci,id=a b'"), [DRIVE], SOCKETS)
    assert options(args, "device")[-1] == "virtio-rng-pci,id=a b"


def test_a_firmware_is_given_if_there_is_one() -> None:
    assert options(command(replace(BOARD, firmware="/fw"), [DRIVE], SOCKETS), "bios") == ["/fw"]
    assert options(command(BOARD, [DRIVE], SOCKETS), "bios") == []


@given(paths, paths)
def test_boards_are_equal_wherever_their_files_lie(overlay: Path, log: Path) -> None:
    assert identity(BOARD, [Drive(overlay, log)]) == identity(BOARD, [DRIVE])


@pytest.mark.parametrize(
    "other",
    [
        pytest.param((replace(BOARD, memory="256M"), [DRIVE]), id="memory"),
        pytest.param((replace(BOARD, cpu="max"), [DRIVE]), id="cpu"),
        pytest.param((replace(BOARD, machine="pc"), [DRIVE]), id="machine"),
        pytest.param((replace(BOARD, accel="kvm"), [DRIVE]), id="accelerator"),
        pytest.param((replace(BOARD, firmware="/fw"), [DRIVE]), id="firmware"),
        pytest.param((replace(BOARD, extra_args="-device virtio-rng-pci"), [DRIVE]), id="extra arguments"),
        pytest.param((replace(BOARD, network=False), [DRIVE]), id="network"),
        pytest.param((replace(BOARD, origin_address="10.0.2.99"), [DRIVE]), id="address"),
        pytest.param((BOARD, [DRIVE, DRIVE]), id="number of disks"),
        pytest.param((BOARD, [replace(DRIVE, log=None)]), id="not recorded"),
        pytest.param((BOARD, [replace(DRIVE, device="nvme")]), id="kind of disk"),
    ],
)
def test_boards_with_other_hardware_are_not_equal(other: tuple[Machine, list[Drive]]) -> None:
    assert identity(*other) != identity(BOARD, [DRIVE])


def test_a_comma_in_a_path_is_doubled() -> None:
    assert escaped(Path("/a,b/c")) == "/a,,b/c"
    assert "filename=/a,,b" in " ".join(drive_args(0, Drive(Path("/a,b"), None)))
