"""A bundle holds what a maintainer needs, nothing that must not leave the house, and is the same each time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from powercut import cli
from powercut.commands.kept import kept
from powercut.disk.qcow2 import write_overlay
from powercut.trial import CUT_REMARK, drawn

from .conftest import MACHINE, MakeRecord

FILES = {"README.md", "boot.sh", "console-after-cut.txt", "console-until-cut.txt", "crash.qcow2", "writes.txt"}


def exported(folder: Path, out: Path) -> Path:
    assert cli.main(["export", str(folder), "--out", str(out)]) == 0
    return out


@pytest.fixture
def bundle(make_record: MakeRecord, tmp_path: Path) -> Path:
    return exported(make_record(), tmp_path / "bundle")


def test_a_bundle_has_its_files_and_no_other(bundle: Path) -> None:
    assert {file.name for file in bundle.iterdir()} == FILES


def test_the_disk_is_the_one_that_was_judged_once_the_image_lies_beside_it(bundle: Path, tmp_path: Path) -> None:
    assert str(tmp_path).encode() not in (bundle / "crash.qcow2").read_bytes()
    (bundle / "base.img").symlink_to(tmp_path / "disk.img")
    (record,) = (tmp_path / "out").iterdir()
    with kept(record) as found:
        plan = found.record.plan
        state, _ = drawn(found.recording, plan.loss, plan.rng("loss"), plan.seed)
        write_overlay(tmp_path / "judged.qcow2", state, found.base)
    line = ["qemu-img", "compare", str(tmp_path / "judged.qcow2"), str(bundle / "crash.qcow2")]
    assert subprocess.run(line, cwd="/", check=False, timeout=30).returncode == 0


def test_the_readme_says_what_to_bring_how_to_boot_and_what_one_sees(bundle: Path, tmp_path: Path) -> None:
    text = (bundle / "README.md").read_text()
    digest = hashlib.sha256((tmp_path / "disk.img").read_bytes()).hexdigest()
    assert f"`base.img` | 1048576 bytes, sha256 `{digest}`" in text
    assert "\nqemu-system-x86_64 -nodefaults" in text
    assert "atomicity** is violated: before any recovery the system that could boot is a mix" in text
    assert "/usr/bin/app: content differs" in text
    assert 'It had announced "done" by then.' in text
    assert "| seed | 3 |" in text
    assert "| loss model | `cache`:" in text
    assert "| QEMU | QEMU emulator version 7.2.1 |" in text


def test_the_console_is_cut_where_the_power_was(bundle: Path) -> None:
    assert (bundle / "console-until-cut.txt").read_text() == "     0.000 OTA: deploying\n     1.500 OTA: done\n"
    assert (bundle / "console-after-cut.txt").read_text() == "3.0 Linux version 6.1\n"


def test_each_request_around_the_cut_has_its_fate_and_the_console_its_place(bundle: Path) -> None:
    rows = [line.split() for line in (bundle / "writes.txt").read_text().splitlines() if line[:1] in (" ", "-")]
    assert [row[1] for row in rows if row[0].isdigit()] == [
        *("write", "write", "flush", "write", "write", "write", "write", "write", "flush", "write"),
    ]
    fates = {int(row[0]): row[6] for row in rows if row[0].isdigit() and row[1] == "write"}
    assert [fates[position] for position in (0, 1, 9)] == ["flushed", "flushed", "not"]
    assert {fates[position] for position in range(3, 8)} == {"lost", "kept"}
    order = [row[0] if row[0].isdigit() else " ".join(row[1:]) for row in rows]
    assert order.index("OTA: done") < order.index("6") < order.index("here the power was lost ----------")
    assert order.index("here the power was lost ----------") < order.index("8")


def test_what_was_said_right_before_the_cut_stands_before_it(make_record: MakeRecord, tmp_path: Path) -> None:
    folder = make_record()
    with (folder / "said.jsonl").open("a") as said:
        said.write(json.dumps({"at_s": 6.9, "text": "last words", "position": 8}) + "\n")
    bundle = exported(folder, tmp_path / "bundle")
    rows = (bundle / "writes.txt").read_text().splitlines()
    assert rows.index("         | last words") + 1 == rows.index("---------- here the power was lost ----------")
    assert "last words" in (bundle / "console-until-cut.txt").read_text()


def test_a_bar_in_the_name_of_a_test_does_not_end_a_cell(make_record: MakeRecord, tmp_path: Path) -> None:
    folder = make_record()
    raw = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**raw, "nodeid": "test_x.py::test_y[console:a|b]"}))
    text = (exported(folder, tmp_path / "bundle") / "README.md").read_text()
    assert "| test | `test_x.py::test_y[console:a\\|b]` |" in text


def test_a_key_on_the_console_is_in_no_text_of_a_bundle(make_record: MakeRecord, tmp_path: Path) -> None:
    folder = make_record()
    lines = (
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "b3BlbnNzaC1rZXktdjEAAAAABG5vbm",
        "-----END OPENSSH PRIVATE KEY-----",
    )
    told = ({"at_s": 6.6, "text": line, "position": 5 + number} for number, line in enumerate(lines))
    (folder / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    (folder / "console.log").write_text("".join(f"9.0 {line}\n" for line in (CUT_REMARK, *lines)))
    bundle = exported(folder, tmp_path / "bundle")
    texts = {file.name: file.read_text() for file in bundle.iterdir() if file.suffix != ".qcow2"}
    assert [name for name, text in texts.items() if lines[1] in text] == []
    assert [name for name, text in sorted(texts.items()) if "a private key" in text] == [
        *("console-after-cut.txt", "console-until-cut.txt", "writes.txt"),
    ]


def test_the_script_is_one_that_a_shell_reads_though_secrets_were_taken_out(
    make_record: MakeRecord, tmp_path: Path
) -> None:
    machine = replace(
        MACHINE, extra_args="-fw_cfg 'name=opt/key,string=a token=q1w2e3 b' -smbios type=11,value=psk=abc99"
    )
    bundle = exported(make_record(hardware=machine), tmp_path / "bundle")
    (bundle / "qemu-system-x86_64").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (bundle / "qemu-system-x86_64").chmod(0o755)
    path = {"PATH": f"{bundle}:{os.environ['PATH']}"}
    said = subprocess.run(["sh", bundle / "boot.sh"], env=path, capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout.splitlines()[-4:] == [
        *("-fw_cfg", "name=opt/key,string=a token=TAKEN-OUT b", "-smbios", "type=11,value=psk=TAKEN-OUT"),
    ]


def test_firmware_that_is_gone_is_told(
    make_record: MakeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_record(hardware=replace(MACHINE, firmware=str(tmp_path / "OVMF.fd")))
    assert cli.main(["export", str(folder), "--out", str(tmp_path / "bundle")]) == 2
    assert "OVMF.fd: gone since this trial" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz"])
def test_two_archives_of_one_record_are_equal_and_name_nobody(
    make_record: MakeRecord, tmp_path: Path, ending: str
) -> None:
    folder = make_record()
    one, two = (exported(folder, tmp_path / f"{name}{ending}") for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == sorted(f"{folder.name}/{name}" for name in FILES)
    assert {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in members} == {
        (0, 0, 0, "", "")
    }
    assert [member.name.rpartition("/")[2] for member in members if member.mode == 0o755] == ["boot.sh"]


def test_without_a_name_the_archive_is_called_as_the_record(
    make_record: MakeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_record()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", str(folder)]) == 0
    assert (tmp_path / f"{folder.name}.tar.gz").is_file()
    assert "look through it before you send it" in capsys.readouterr().out


def test_nothing_is_overwritten(make_record: MakeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.tar").write_text("mine")
    assert cli.main(["export", str(make_record()), "--out", str(tmp_path / "mine.tar")]) == 2
    assert (tmp_path / "mine.tar").read_text() == "mine"
    assert "exists already" in capsys.readouterr().err


def test_secrets_of_environment_hardware_and_console_are_not_in_the_texts(
    make_record: MakeRecord, tmp_path: Path
) -> None:
    environment = tmp_path / "env.yaml"
    environment.write_text("drivers:\n  ShellDriver: {password: T0pSecret}\n")
    machine = replace(MACHINE, extra_args="-fw_cfg name=opt/key,string=T0pSecret -smbios type=11,value=psk=abc99")
    folder = make_record(environment=str(environment), hardware=machine)
    console = folder / "console.log"
    console.write_text(f"{console.read_text()}4.0 GET https://ota:geheim@x/ token=q1w2e3 /home/alice/.ssh T0pSecret\n")
    bundle = exported(folder, tmp_path / "bundle")
    texts = "".join(file.read_text() for file in bundle.iterdir() if file.suffix != ".qcow2")
    assert "Linux version" in texts
    planted = ("T0pSecret", "abc99", "geheim", "q1w2e3", "alice")
    assert [secret for secret in planted if secret in texts] == []


def test_firmware_is_a_file_to_bring(make_record: MakeRecord, tmp_path: Path) -> None:
    firmware = tmp_path / "OVMF.fd"
    firmware.write_bytes(b"firmware")
    bundle = exported(make_record(hardware=replace(MACHINE, firmware=str(firmware))), tmp_path / "bundle")
    text = (bundle / "README.md").read_text()
    assert f"| `OVMF.fd` | 8 bytes, sha256 `{hashlib.sha256(b'firmware').hexdigest()}`" in text
    assert " -bios OVMF.fd " in text
