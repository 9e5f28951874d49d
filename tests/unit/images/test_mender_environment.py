"""The two scripts through which Mender reads and writes the boot environment, run here with one in a file."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

FILES = Path(__file__).parents[3] / "tools/images/device/dualbank"
# What `bootenv` of the device does, on a file.
BOOTENV = """#!/bin/sh
case $1 in
get) cat @PLACE@/env ;;
set)
    shift
    for pair; do sed -i "/^${pair%%=*}=/d" @PLACE@/env; echo "$pair" >>@PLACE@/env; done
    echo >>@PLACE@/writes
    ;;
esac
"""
GOOD_A = {"ORDER": "A B", "A_OK": "1", "A_TRY": "0", "A_GOOD": "1", "B_OK": "0", "B_TRY": "0", "B_GOOD": "0"}
NEW_B = {**GOOD_A, "ORDER": "B A", "B_OK": "1"}
Run = Callable[..., "tuple[int, str]"]


@pytest.fixture
def environment(tmp_path: Path) -> Callable[[str, dict[str, str]], Run]:
    """`environment(booted, variables)` gives what runs one of the scripts, with the environment as it is then."""

    def placed(file: Path) -> None:
        text = file.read_text()
        for old, new in {
            "/usr/lib/device": tmp_path,
            "/proc/cmdline": tmp_path / "cmdline",
            "PATH=/usr/sbin:/usr/bin": "",
            "@PLACE@": tmp_path,
        }.items():
            text = text.replace(old, str(new))
        (tmp_path / file.name).write_text(text)
        (tmp_path / file.name).chmod(0o755)

    (tmp_path / "device.conf").write_text("SLOT_A=/dev/vda3\nSLOT_B=/dev/vda4\n")
    (tmp_path / "bootenv.in").write_text(BOOTENV)
    for file in (
        FILES / "rootfs/usr/lib/device/slots.sh",
        FILES / "mender/usr/lib/device/mender.sh",
        *(FILES / "mender/usr/bin").iterdir(),
        tmp_path / "bootenv.in",
    ):
        placed(file)
    (tmp_path / "bootenv.in").rename(tmp_path / "bootenv")

    def made(booted: str, variables: dict[str, str]) -> Run:
        (tmp_path / "cmdline").write_text(f"root=/dev/vda rauc.slot={booted} ro\n")
        (tmp_path / "env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))

        def run(program: str, *arguments: str, says: str = "") -> tuple[int, str]:
            done = subprocess.run(
                ["sh", tmp_path / f"grub-mender-grubenv-{program}", *arguments],
                input=says,
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
                env={"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"},
            )
            return done.returncode, done.stdout

        return run

    return made


def variables(place: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (place / "env").read_text().splitlines())


@pytest.mark.parametrize(
    ("booted", "kept", "part", "on_trial"),
    [
        ("A", GOOD_A, "3", "0"),
        ("A", NEW_B, "4", "1"),
        ("B", {**NEW_B, "B_TRY": "1"}, "4", "1"),
        ("B", {**NEW_B, "B_GOOD": "1"}, "4", "0"),
        # the boot loader has tried B, and left it
        ("A", {**NEW_B, "B_TRY": "3"}, "3", "0"),
        # nothing is OK
        ("A", {**GOOD_A, "A_OK": "0"}, "3", "0"),
    ],
    ids=["confirmed", "installed", "tried", "committed", "left", "none"],
)
def test_what_boots_next_is_told_in_its_words(
    environment: Callable[[str, dict[str, str]], Run], booted: str, kept: dict[str, str], part: str, on_trial: str
) -> None:
    said = environment(booted, kept)("print", "mender_boot_part", "upgrade_available", "nothing")
    assert said == (0, f"mender_boot_part={part}\nupgrade_available={on_trial}\n")


INSTALL = "upgrade_available=1\nmender_boot_part=4\nmender_boot_part_hex=4\nbootcount=0\n"
COMMIT = "upgrade_available=0\n"
BACK = "upgrade_available=0\nmender_boot_part=3\nmender_boot_part_hex=3\n"


@pytest.mark.parametrize(
    ("booted", "kept", "says", "changed"),
    [
        ("A", GOOD_A, INSTALL, {"ORDER": "B A", "B_OK": "1", "B_TRY": "0", "B_GOOD": "0", "B_FAIL": "0"}),
        ("B", {**NEW_B, "B_TRY": "1"}, COMMIT, {"B_OK": "1", "B_TRY": "0", "B_GOOD": "1", "B_FAIL": "0"}),
        ("A", NEW_B, BACK, {"ORDER": "A B", "B_OK": "0", "B_TRY": "0", "B_GOOD": "0", "B_FAIL": "0"}),
        ("B", {**NEW_B, "B_TRY": "1"}, BACK, {"ORDER": "A B", "B_OK": "0", "B_TRY": "0", "B_GOOD": "0", "B_FAIL": "0"}),
    ],
    ids=["install", "commit", "back-before-the-start", "back-after-it"],
)
def test_what_it_writes_is_one_write_of_the_environment(
    environment: Callable[[str, dict[str, str]], Run],
    tmp_path: Path,
    booted: str,
    kept: dict[str, str],
    says: str,
    changed: dict[str, str],
) -> None:
    assert environment(booted, kept)("set", "-s", "-", says=says) == (0, "")
    assert variables(tmp_path) == {**kept, **changed}
    assert len((tmp_path / "writes").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("booted", "kept", "says", "code"),
    [
        ("A", NEW_B, COMMIT, 1),
        ("A", GOOD_A, "upgrade_available=1\nmender_boot_part=7\n", 2),
        ("A", GOOD_A, "mender_boot_part=4\n", 2),
        ("A", GOOD_A, "mender_uboot_separator 1\n", 0),
    ],
    ids=["commit-of-what-does-not-run", "no-such-slot", "half-of-a-switch", "its-probe"],
)
def test_what_means_nothing_here_changes_nothing(
    environment: Callable[[str, dict[str, str]], Run],
    tmp_path: Path,
    booted: str,
    kept: dict[str, str],
    says: str,
    code: int,
) -> None:
    assert environment(booted, kept)("set", "-s", "-", says=says)[0] == code
    assert variables(tmp_path) == kept
    assert not (tmp_path / "writes").exists()
