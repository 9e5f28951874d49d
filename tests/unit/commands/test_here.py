"""A record that was made in one clone is used in another, which lies elsewhere, once the first one is gone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import powercut
from powercut import cli
from powercut.commands.here import found, here
from powercut.commands.init.questions import answered
from powercut.commands.init.written import environment
from powercut.commands.kept import kept
from powercut.errors import UsageError
from powercut.lab.qemudriver import PowercutQEMUDriver
from powercut.store import load_record

from .answers import QEMU
from .conftest import MACHINE, MakeRecord

Clone = Callable[[], Path]


@pytest.fixture
def moved(make_record: MakeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The record in another clone in which one stands: its environment names the image there. The first is no more."""
    folder = make_record()
    clone = tmp_path / "another/clone"
    clone.mkdir(parents=True)
    for name in ("disk.img", "test_x.py", "out"):
        shutil.move(tmp_path / name, clone / name)
    (clone / "disk.img").replace(clone / "image.img")
    (clone / "releases/repo").mkdir(parents=True)
    answers = answered(QEMU | {"image": "image.img", "repo": "releases/repo"}, None, print)
    monkeypatch.chdir(clone)
    (clone / "env.yaml").write_text(environment(answers, Path("env.yaml")))
    return clone / "out" / folder.name


def test_what_is_still_where_it_was_is_that(make_record: MakeRecord, tmp_path: Path) -> None:
    (tmp_path / "env.yaml").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/env.yaml").touch()
    record = load_record(make_record())
    assert here(record, tmp_path / "other") == record


def test_the_longest_end_of_a_path_that_is_here_counts(tmp_path: Path) -> None:
    for name in ("lab/env/a.yaml", "env/a.yaml", "a.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert found(Path("/gone/clone/tests/../env/a.yaml"), tmp_path) == tmp_path / "env/a.yaml"
    assert found(Path("/gone/clone/env/b.yaml"), tmp_path) == Path("/gone/clone/env/b.yaml")


def test_a_test_of_the_suite_is_that_of_the_powercut_that_replays(make_record: MakeRecord, tmp_path: Path) -> None:
    suite = tmp_path / "first/fixtures/powercut/conformance"
    suite.mkdir(parents=True)
    (suite / "test_power_loss.py").touch()
    record = replace(load_record(make_record()), file=suite / "test_power_loss.py")
    own = Path(powercut.__file__).parent / "conformance/test_power_loss.py"
    assert own.is_file()
    assert here(record, tmp_path).file == own


def test_a_replay_in_another_clone_takes_the_environment_and_the_test_of_that(
    moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _path, line: became.append(line))
    cli.main(["replay", str(moved)])
    clone = tmp_path / "another/clone"
    assert became[0][3:] == [
        *("--lg-env", str(clone / "env.yaml"), "--powercut-replay", str(moved), str(clone / "test_x.py"))
    ]


def test_the_image_of_another_clone_is_known_by_its_content(moved: Path, tmp_path: Path) -> None:
    with kept(moved) as opened:
        assert opened.base == tmp_path / "another/clone/image.img"
        assert opened.record.began_with(opened.base)


def test_an_image_of_another_content_is_no_image_to_work_on(moved: Path, tmp_path: Path) -> None:
    with (tmp_path / "another/clone/image.img").open("r+b") as image:
        image.write(b"other")
    with pytest.raises(UsageError, match="was written since this trial, or is gone") as told, kept(moved):
        pass
    assert f"sha256 {load_record(moved).sha256}" in str(told.value)


def test_a_bundle_made_in_another_clone_is_the_same_but_for_where_the_image_was(
    make_record: MakeRecord, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert cli.main(["export", str(make_record()), "--out", str(tmp_path / "first")]) == 0
    moved = request.getfixturevalue("moved")
    assert cli.main(["export", str(moved), "--out", str(tmp_path / "second")]) == 0
    for file in (tmp_path / "first").iterdir():
        there = (tmp_path / "second" / file.name).read_bytes()
        assert file.read_bytes() == there.replace(b"another/clone/image.img", b"disk.img")


def test_a_disk_whose_environment_is_gone_is_one_clear_message(
    make_record: MakeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["boot", "--print", str(make_record())]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path}/env.yaml: No such file or directory")
    assert "Traceback" not in said


def test_a_disk_is_booted_by_the_environment_of_the_clone_that_one_stands_in(
    moved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PowercutQEMUDriver, "board", lambda _driver: MACHINE)
    assert cli.main(["boot", "--print", str(moved)]) == 0
    overlay, boot = capsys.readouterr().out.splitlines()
    assert f"-b {moved}/crash.qcow2" in overlay
    assert boot.startswith(f"{MACHINE.binary} ")
