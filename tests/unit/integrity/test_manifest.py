"""What a release consists of, from a real repository."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from powercut.errors import RigError, UsageError
from powercut.integrity.manifest import Entry, parse_listing, read_manifest

from .conftest import Device


def test_a_manifest_names_every_path_with_its_metadata(device: Device) -> None:
    manifest = device.manifests["1.1"]
    app = manifest.entries["/usr/bin/app"]
    assert (app.kind, app.mode, app.uid, app.gid) == ("-", 0o755, os.getuid(), os.getgid())
    assert manifest.entries["/usr/share/empty"].kind == "d"
    assert manifest.entries["/lib"].kind == "l"
    assert set(manifest.children["/"]) == {"usr", "sysroot", "boot", "var", "tmp", "lib", "ostree", "long"}
    assert set(manifest.children["/usr/etc"]) == {"app", "os-release"}


def test_a_manifest_knows_the_kernel_and_the_initramfs_by_content(device: Device) -> None:
    assert device.manifests["1.0"].boot == {
        "vmlinuz": sha256(b"kernel 1.0 " * 3000).hexdigest(),
        "initramfs.img": sha256(b"initramfs 1.0 " * 3000).hexdigest(),
    }


def test_a_manifest_is_kept_and_needs_its_repository_only_once(device: Device, tmp_path: Path) -> None:
    commit = device.manifests["1.0"].commit
    first = read_manifest(device.repo, commit, tmp_path)
    assert read_manifest(tmp_path / "no repository", commit, tmp_path) == first


def test_a_damaged_cache_says_which_file(device: Device, tmp_path: Path) -> None:
    commit = device.manifests["1.0"].commit
    (tmp_path / f"{commit}.json").write_text("{")
    with pytest.raises(RigError, match=f"{commit}.json"):
        read_manifest(device.repo, commit, tmp_path)


def test_an_unknown_commit_is_the_users_mistake(device: Device, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"repo: `ostree ls` says .*0000"):
        read_manifest(device.repo, "0" * 64, tmp_path)


@pytest.mark.parametrize("commit", ["", "1.0", "a" * 63, "../" + "a" * 61])
def test_what_is_no_commit_is_the_users_mistake(device: Device, tmp_path: Path, commit: str) -> None:
    with pytest.raises(UsageError, match="is no commit"):
        read_manifest(device.repo, commit, tmp_path)


def test_a_machine_without_ostree_says_so(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="`ostree` is not installed"):
        read_manifest(device.repo, device.manifests["1.0"].commit, tmp_path)


def test_names_with_spaces_and_arrows_are_read() -> None:
    line = f"-00644 0 0     42 {'a' * 64} /usr/a -> b c\nl00777 0 0      0 {'b' * 64} /usr/link -> to\n"
    assert parse_listing(line, "here") == {
        "/usr/a -> b c": Entry("-", 0o644, 0, 0, "a" * 64),
        "/usr/link": Entry("l", 0o777, 0, 0, "b" * 64),
    }


def test_an_unknown_line_is_quoted() -> None:
    with pytest.raises(RigError, match="something else"):
        parse_listing("something else\n", "here")
