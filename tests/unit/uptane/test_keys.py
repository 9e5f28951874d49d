"""Keys are made once, read again, and belong to their maker."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root

from powercut import cli
from powercut.errors import UsageError
from powercut.uptane import read_keys


@pytest.mark.parametrize("name", ["director", "repo"])
def test_a_root_names_the_keys_that_sign_and_signs_itself(keys: Path, name: str) -> None:
    authority = read_keys(keys, "env.yaml")[name]
    root = Metadata[Root].from_file(str(keys / name / "root.json"))
    root.verify_delegate("root", root)
    signers = {role: [signer.public_key.keyid for signer in found] for role, found in authority.signers.items()}
    assert signers == {role: root.signed.roles[role].keyids for role in ("root", "timestamp", "snapshot", "targets")}
    assert root.signed.roles["targets"].threshold == 2


@pytest.mark.parametrize("name", ["director", "repo"])
def test_the_root_is_there_in_aktualizrs_shape_too(keys: Path, name: str) -> None:
    root, other = (json.loads((keys / name / file).read_text()) for file in ("root.json", "root.aktualizr.json"))
    assert root["signed"] == other["signed"]
    (signature,), (same,) = root["signatures"], other["signatures"]
    assert base64.b64decode(same["sig"]).hex() == signature["sig"]
    assert same["method"] == "ed25519"


def test_the_two_repositories_share_no_key(keys: Path) -> None:
    director, images = (authority.root.keys for authority in read_keys(keys, "env.yaml").values())
    assert len(director) == len(images) == 5
    assert not director.keys() & images.keys()


def test_nobody_else_reads_them(keys: Path) -> None:
    assert {file.stat().st_mode & 0o777 for file in keys.rglob("*.pem")} == {0o600}


def test_keys_that_are_there_are_not_made_anew(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_keys(keys, "env.yaml")["repo"].root
    assert cli.main(["keys", str(keys)]) == 2
    assert "not there yet" in capsys.readouterr().err
    assert read_keys(keys, "env.yaml")["repo"].root == before


def test_the_command_makes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["keys", str(tmp_path / "new/keys")]) == 0
    assert set(read_keys(tmp_path / "new/keys", "env.yaml")) == {"director", "repo"}


@pytest.mark.parametrize("spoil", ["director/root.json", "repo/targets-1.pem"])
def test_a_folder_without_them_is_the_users_to_make(tmp_path: Path, spoil: str) -> None:
    assert cli.main(["keys", str(tmp_path / "keys")]) == 0
    (tmp_path / "keys" / spoil).write_text("something else")
    with pytest.raises(UsageError, match=r"env\.yaml: metadata: keys: no keys(?s:.*)powercut keys"):
        read_keys(tmp_path / "keys", "env.yaml: metadata: keys")
