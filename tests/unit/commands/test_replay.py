"""`powercut replay` becomes the pytest that replays a record."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from powercut import cli

from .conftest import MakeRecord


class Became(Exception):  # noqa: N818  (no error: what this process would have become)
    pass


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch) -> None:
    def execv(_path: str, line: list[str]) -> None:
        raise Became(line)

    monkeypatch.setattr(os, "execv", execv)


@pytest.mark.usefixtures("become")
@pytest.mark.parametrize("name", ["", "record.json"])
def test_the_folder_or_its_record_name_everything_that_pytest_needs_from_any_folder(
    make_record: MakeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = make_record()
    monkeypatch.chdir(folder.parent)
    with pytest.raises(Became) as became:
        cli.main(["replay", str(Path(folder.name) / name), "-x", "--powercut-out", "again"])
    assert became.value.args[0] == [
        *(sys.executable, "-m", "pytest", "--lg-env", str(tmp_path / "env.yaml"), "--powercut-replay", str(folder)),
        *("-x", "--powercut-out", "again", str(tmp_path / "test_x.py")),
    ]


@pytest.mark.usefixtures("become")
def test_a_test_that_is_gone_is_told(
    make_record: MakeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_record()
    (tmp_path / "test_x.py").unlink()
    assert cli.main(["replay", str(folder)]) == 2
    assert "the test's file is gone" in capsys.readouterr().err


@pytest.mark.usefixtures("become")
@pytest.mark.parametrize("command", ["replay", "export", "shrink"])
def test_a_record_whose_evidence_was_not_kept_is_one_clear_message(
    make_record: MakeRecord, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    folder = make_record(keep=0)
    assert cli.main([command, str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{folder}: the evidence of this trial was not kept")
    assert "--powercut-keep" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["replay", "export", "shrink"])
def test_what_is_no_record_is_the_users_to_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert cli.main([command, str(tmp_path)]) == 2
    assert "no record of a trial" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["export", "shrink"])
def test_an_image_that_was_written_since_is_told(
    make_record: MakeRecord, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    folder = make_record()
    (tmp_path / "disk.img").write_bytes(bytes(2 << 20))
    assert cli.main([command, str(folder)]) == 2
    assert "was written since this trial" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["export", "shrink"])
@pytest.mark.parametrize(
    ("plan", "says"), [({"stimulus": "route"}, "a route has no single cut"), ({"again": 2}, "were cut, too")]
)
def test_a_trial_that_one_drawn_disk_does_not_show_is_refused_with_the_way_to_it(
    make_record: MakeRecord, capsys: pytest.CaptureFixture[str], command: str, plan: dict[str, object], says: str
) -> None:
    file = make_record() / "record.json"
    raw = json.loads(file.read_text())
    file.write_text(json.dumps({**raw, "plan": {**raw["plan"], **plan}}))
    assert cli.main([command, str(file)]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert "run its test again: pytest --lg-env" in said
