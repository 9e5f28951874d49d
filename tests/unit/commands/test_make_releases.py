"""Bad releases of a good one: small bundles made by the tools of their update clients, taken apart and looked at."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
import yaml

from powercut import cli
from powercut.clients import bundle, swu
from powercut.clients.recognised import image_in
from powercut.commands.make_releases import ext4, squashfs
from powercut.commands.make_releases.derived import LABELS
from powercut.commands.make_releases.raucb import edited as edited_manifest
from powercut.commands.make_releases.rootfs import Changes, Tree
from powercut.commands.make_releases.squashfs import edited, parse_list
from powercut.environment import DERIVED, SCHEMA

HEALTH = "/usr/lib/app/health"
CHANGED = ("bad-health", "bad-boot", "no-kernel")
DESCRIPTION = """\
software =
{
    version = "1.1";
    hardware-compatibility = [ "1.0" ];
    stable = {
        A: { images: ( { filename = "%(name)s"; device = "/dev/a"; compressed = "zlib"; sha256 = "%(sha256)s"; } ); };
        B: { images: ( { filename = "%(name)s"; device = "/dev/b"; compressed = "zlib"; sha256 = "%(sha256)s"; } ); };
    };
}
"""


def run(*command: str | Path, cwd: Path | None = None, given: bytes = b"") -> bytes:
    return subprocess.run(command, cwd=cwd, input=given, check=True, capture_output=True, timeout=120).stdout


@dataclass(frozen=True)
class Keys:
    """A vendor's key, its certificate, and that of whom devices trust."""

    key: Path
    certificate: Path
    authority: Path


def make_keys(folder: Path, name: str) -> Keys:
    folder.mkdir()
    key, certificate, authority = folder / "dev.key", folder / "dev.crt", folder / "ca.crt"
    new = ("-newkey", "rsa:2048", "-nodes", "-subj")
    run(
        *("openssl", "req", "-x509", *new, f"/CN={name} CA", "-days", "9"),
        *("-keyout", folder / "ca.key", "-out", authority),
    )
    run("openssl", "req", *new, f"/CN={name}", "-keyout", key, "-out", folder / "csr")
    (folder / "ext").write_text("keyUsage=digitalSignature\nextendedKeyUsage=emailProtection,codeSigning\n")
    signed = ("-CA", authority, "-CAkey", folder / "ca.key", "-CAcreateserial", "-extfile", folder / "ext")
    run("openssl", "x509", "-req", "-in", folder / "csr", *signed, "-days", "9", "-out", certificate)
    return Keys(key, certificate, authority)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys") / "vendor", "vendor")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system with merged /usr, a kernel behind a link, and an init that is a link to a program with many names."""
    tree = tmp_path_factory.mktemp("system") / "tree"
    for name in ("usr/sbin", "usr/bin", "usr/lib/app", "usr/lib/modules/6.1", "boot", "etc"):
        (tree / name).mkdir(parents=True)
    for name in ("sbin", "bin", "lib"):
        (tree / name).symlink_to(f"usr/{name}")
    (tree / "usr/bin/busybox").write_bytes(b"\x7fELF many programs")
    (tree / "usr/bin/app").write_bytes(Random("app").randbytes(20_000))  # a bundle has to be larger than a block
    (tree / "usr/sbin/init").symlink_to("../bin/busybox")
    (tree / "usr/lib/app/health").write_text("#!/usr/bin/busybox sh\nexit 0\n")
    (tree / "usr/lib/app/health").chmod(0o750)
    (tree / "usr/lib/modules/6.1/vmlinuz").write_bytes(b"kernel")
    (tree / "boot/vmlinuz").symlink_to("../usr/lib/modules/6.1/vmlinuz")
    (tree / "usr/lib/os-release").write_text("NAME=Device\nVERSION_ID=1.1\n")
    (tree / "etc/os-release").symlink_to("../usr/lib/os-release")
    return tree


def make_image(tree: Path, image: Path, kind: str) -> Path:
    if kind == "ext4":
        run("mke2fs", "-q", "-t", "ext4", "-d", tree, image, "4M")
    else:
        run("mksquashfs", tree, image, "-comp", "xz", "-b", "65536", "-quiet", "-no-progress", "-noappend")
    return image


def make_raucb(image: Path, signer: Keys, out: Path, form: str = "plain") -> Path:
    content = out.parent / f"content-{out.stem}"
    content.mkdir()
    shutil.copy(image, content / "rootfs.img")
    (content / "manifest.raucm").write_text(
        f"[update]\ncompatible=board\nversion=1.1\n\n[bundle]\nformat={form}\n\n[image.rootfs]\nfilename=rootfs.img\n"
    )
    run("rauc", f"--cert={signer.certificate}", f"--key={signer.key}", "bundle", content, out)
    return out


def make_swu(image: Path, signer: Keys, out: Path, description: str = DESCRIPTION) -> Path:
    content = out.parent / f"content-{out.stem}"
    content.mkdir()
    packed = gzip.compress(image.read_bytes(), mtime=0)
    (content / "rootfs.img.gz").write_bytes(packed)
    said = description % {"name": "rootfs.img.gz", "sha256": hashlib.sha256(packed).hexdigest()}
    (content / "sw-description").write_text(said)
    signing = ("-outform", "DER", "-nosmimecap", "-binary", "-signer", signer.certificate, "-inkey", signer.key)
    run("openssl", "cms", "-sign", "-in", "sw-description", "-out", "sw-description.sig", *signing, cwd=content)
    names = b"sw-description\nsw-description.sig\nrootfs.img.gz\n"
    run("cpio", "--quiet", "-o", "-H", "crc", "-O", out, cwd=content, given=names)
    return out


KINDS = ("raucb ext4 plain", "raucb squashfs verity", "swu ext4 cms")


@pytest.fixture(scope="module", params=KINDS)
def good(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tree: Path, keys: Keys) -> Path:
    packed, file_system, form = request.param.split()
    folder = tmp_path_factory.mktemp("good")
    image = make_image(tree, folder / "image", file_system)
    if packed == "swu":
        return make_swu(image, keys, folder / "1.1.swu")
    return make_raucb(image, keys, folder / "1.1.raucb", form)


@pytest.fixture(scope="module")
def made(good: Path, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that can be derived of it."""
    out = tmp_path_factory.mktemp("made")
    assert make(good, keys, out, "--health-check", HEALTH) == 0
    return out


def make(good: Path, signer: Keys, out: Path, *more: str | Path) -> int:
    return cli.main([*map(str, ("make-releases", good, "--key", signer.key, "--out", out, *more))])


def refused(capsys: pytest.CaptureFixture[str], good: Path, signer: Keys, out: Path, *more: str | Path) -> str:
    """What is said of a slip; nothing is left in the folder."""
    assert make(good, signer, out, *more) == 2
    assert not out.exists() or not [file for file in out.iterdir() if file.is_file()]
    assert not list(out.glob(".powercut*"))
    return capsys.readouterr().err


def of_role(made: Path, role: str) -> Path:
    (found,) = made.glob(f"*-{LABELS[role]}.*")
    return found


def system(file: Path, folder: Path) -> Path:
    """The tree in a bundle, unpacked."""
    image, out = folder / "image", folder / "tree"
    with image.open("wb") as target:
        target.writelines(image_in(file).pieces())
    if image.read_bytes()[:4] == b"hsqs":
        run("unsquashfs", "-q", "-n", "-d", out, image)
    else:
        out.mkdir()
        run("debugfs", "-R", f"rdump / {out}", image)
        run("e2fsck", "-fn", image)
    return out


def succeeds(*command: str | Path) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def trusted(file: Path, authority: Path, folder: Path) -> bool:
    """Whether a device would take its signature, by the word of the tools that devices use."""
    if file.suffix == ".raucb":
        return succeeds("rauc", f"--keyring={authority}", "info", file)
    with file.open("rb") as archive:
        parts = {member.name: (member.at, member.size) for member in swu.members(archive, file)}
        for name in ("sw-description", "sw-description.sig"):
            if name not in parts:
                return False
            archive.seek(parts[name][0])
            (folder / name).write_bytes(archive.read(parts[name][1]))
    verify = ("openssl", "cms", "-verify", "-inform", "DER", "-binary", "-in", folder / "sw-description.sig")
    by = ("-content", folder / "sw-description", "-CAfile", authority, "-out", "/dev/null")
    return succeeds(*verify, *by)


def version_of(file: Path) -> str:
    return bundle.image_of(file).version if file.suffix == ".raucb" else swu.image_of(file).version


# what is made


def test_there_is_one_for_each_role_that_is_said_to_be_derived() -> None:
    assert tuple(LABELS) == DERIVED
    assert set(DERIVED) <= set(SCHEMA["properties"]["releases"]["properties"])


@pytest.mark.parametrize("role", CHANGED)
def test_what_is_changed_is_signed_and_whole_and_says_its_version(
    made: Path, keys: Keys, role: str, tmp_path: Path
) -> None:
    file = of_role(made, role)
    assert trusted(file, keys.authority, tmp_path)
    assert version_of(file) == f"1.1-{role}"
    found = system(file, tmp_path)
    assert f'VERSION_ID="1.1-{role}"\n' in (found / "usr/lib/os-release").read_text()
    assert (found / "etc/os-release").is_symlink()
    assert (found / "usr/bin/busybox").read_bytes() == b"\x7fELF many programs"


def test_the_health_check_fails_with_the_mode_and_the_shell_that_it_had(made: Path, tmp_path: Path) -> None:
    check = system(of_role(made, "bad-health"), tmp_path) / HEALTH[1:]
    assert check.read_text().startswith("#!/usr/bin/busybox sh\n")
    assert check.read_text().endswith("exit 1\n")
    assert check.stat().st_mode & 0o7777 == 0o750


def test_what_the_kernel_starts_ends_at_once_and_what_it_was_a_link_to_stays(made: Path, tmp_path: Path) -> None:
    init = system(of_role(made, "bad-boot"), tmp_path) / "usr/sbin/init"
    assert not init.is_symlink()
    assert init.read_text().startswith("#!/bin/sh\n")
    assert init.stat().st_mode & 0o111
    assert subprocess.run(["sh", init], capture_output=True, check=False).returncode == 1


def test_the_kernel_is_gone_and_so_is_the_link_to_it(made: Path, tmp_path: Path) -> None:
    found = system(of_role(made, "no-kernel"), tmp_path)
    assert not (found / "boot/vmlinuz").is_symlink()
    assert not (found / "usr/lib/modules/6.1/vmlinuz").exists()
    assert (found / "usr/sbin/init").is_symlink()


@pytest.mark.parametrize("role", ["unsigned", "wrongly-signed"])
def test_what_is_forged_no_device_trusts(made: Path, good: Path, keys: Keys, role: str, tmp_path: Path) -> None:
    assert trusted(good, keys.authority, tmp_path)
    assert image_in(of_role(made, role)).identity == image_in(good).identity
    assert not trusted(of_role(made, role), keys.authority, tmp_path)


def test_what_is_truncated_is_the_first_half(made: Path, good: Path) -> None:
    assert of_role(made, "truncated").read_bytes() == good.read_bytes()[: good.stat().st_size // 2]


def test_what_is_for_another_device_is_signed_as_it_should_be(made: Path, keys: Keys, tmp_path: Path) -> None:
    file = of_role(made, "other-ref")
    assert trusted(file, keys.authority, tmp_path)
    assert b"powercut-another-device" in (
        run("unsquashfs", "-cat", file, "manifest.raucm") if file.suffix == ".raucb" else file.read_bytes()
    )


def test_the_lines_to_paste_name_each_with_its_file(made: Path, good: Path) -> None:
    text = (made / "releases.yaml").read_text()
    releases = yaml.safe_load(text)["releases"]
    assert set(releases) == {"next", *LABELS}
    assert (made / releases["next"]["bundle"]).resolve() == good
    assert all((made / release["bundle"]).is_file() for release in releases.values())
    assert len({release["version"] for release in releases.values()}) == len(releases)
    assert "not made" not in text


# what can't be derived, and slips


@pytest.fixture(scope="module")
def plain(tree: Path, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    return make_raucb(make_image(tree, folder / "image", "ext4"), keys, folder / "1.1.raucb")


def test_a_health_check_that_nobody_named_is_asked_for_and_the_others_are_made(
    plain: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(plain, keys, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "# not made: bad-health: it is not known how the device finds that it works" in said
    assert "--health-check" in said
    assert set(yaml.safe_load(said)["releases"]) == {"next", *LABELS} - {"bad-health"}


def test_an_image_that_nobody_can_read_leaves_what_is_forged(
    keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "image").write_bytes(b"no file system" * 500)
    assert make(make_raucb(tmp_path / "image", keys, tmp_path / "1.1.raucb"), keys, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert said.count("its image is neither ext4 nor SquashFS") == 3
    assert set(yaml.safe_load(said)["releases"]) == {"next", "unsigned", "wrongly-signed", "other-ref", "truncated"}


def test_a_system_without_kernel_init_and_version_says_what_would_help(
    keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/check").write_text("")
    good = make_raucb(make_image(tmp_path / "tree", tmp_path / "image", "ext4"), keys, tmp_path / "1.1.raucb")
    assert make(good, keys, tmp_path / "out", "--health-check", "/check") == 0
    said = capsys.readouterr().out
    assert "# not made: bad-boot: there is no /sbin/init in its image" in said
    assert "# not made: no-kernel: there is no kernel in its image" in said
    assert "# bad-health: its os-release has no VERSION_ID" in said


def test_an_archive_for_any_hardware_can_be_for_no_other(
    tree: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    anywhere = DESCRIPTION.replace('    hardware-compatibility = [ "1.0" ];\n', "")
    good = make_swu(make_image(tree, tmp_path / "image", "ext4"), keys, tmp_path / "1.1.swu", anywhere)
    assert make(good, keys, tmp_path / "out") == 0
    assert "# not made: other-ref: its description names no hardware" in capsys.readouterr().out


@pytest.mark.parametrize(("option", "path"), [("--health-check", "/usr/no"), ("--kernel", "/boot/no")])
def test_a_path_that_is_not_in_the_release_is_told(
    plain: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, path: str
) -> None:
    said = refused(capsys, plain, keys, tmp_path / "out", option, path)
    assert f"{option}: there is no {path} in the image of GOOD" in said


def test_another_key_is_told(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = make_keys(tmp_path / "other", "other")
    said = refused(capsys, plain, other, tmp_path / "out")
    assert "GOOD was signed by another key" in said
    assert "to do: give the key that signed GOOD" in said


def test_a_certificate_of_another_key_is_told(
    plain: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_keys(tmp_path / "other", "other")
    said = refused(capsys, plain, keys, tmp_path / "out", "--cert", other.certificate)
    assert "this certificate is that of another key" in said
    assert make(plain, other, tmp_path / "out", "--cert", other.certificate) == 0


def test_what_is_no_key_is_told(plain: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    none = Keys(keys.certificate, keys.certificate, keys.authority)
    said = refused(capsys, plain, none, tmp_path / "out")
    assert "openssl failed" in said
    assert "give a private key in PEM" in said
    gone = Keys(tmp_path / "gone.key", keys.certificate, keys.authority)
    assert "gone.key: there is no such file" in refused(capsys, plain, gone, tmp_path / "out")


def test_what_is_no_bundle_is_told(keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.raucb").write_bytes(b"no bundle" * 500)
    assert "it is no RAUC bundle and no SWUpdate file" in refused(capsys, tmp_path / "none.raucb", keys, tmp_path / "o")
    assert "there is no such file" in refused(capsys, tmp_path / "gone.raucb", keys, tmp_path / "o")


def test_a_bundle_without_signature_is_told(
    plain: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(plain, keys, tmp_path / "out") == 0
    unsigned = of_role(tmp_path / "out", "unsigned")
    assert "it has no signature" in refused(capsys, unsigned, keys, tmp_path / "again")


@pytest.mark.parametrize("tool", ["rauc", "openssl", "unsquashfs", "debugfs"])
def test_a_tool_that_is_missing_is_named_with_its_package(
    plain: Path,
    keys: Keys,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tool: str,
) -> None:
    real = subprocess.run

    def without(command: tuple[str | Path, ...], **options: object) -> object:
        if command[0] == tool:
            raise FileNotFoundError(tool)
        return real(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", without)
    said = refused(capsys, plain, keys, tmp_path / "out")
    assert f"{tool} is not installed" in said
    assert "to do: install it (Debian: " in said


def test_nothing_that_is_there_is_replaced_unless_it_is_said(
    plain: Path, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.1-unsigned.raucb").write_text("mine")
    assert make(plain, keys, tmp_path) == 2
    assert "1.1-unsigned.raucb: it is there already" in capsys.readouterr().err
    assert (tmp_path / "1.1-unsigned.raucb").read_text() == "mine"
    assert make(plain, keys, tmp_path, "--force") == 0
    assert (tmp_path / "1.1-unsigned.raucb").stat().st_size > 1000


# texts


def test_a_manifest_keeps_what_is_not_computed() -> None:
    text = (
        "[update]\nversion=1\ncompatible=b\nbuild=7\n[bundle]\nformat=verity\nverity-hash=0\n"
        "[image.r]\nsha256=0\nsize=1\nfilename=r\nhooks=install\n"
    )
    assert edited_manifest(text, "2", None) == (
        "[update]\nversion=2\ncompatible=b\nbuild=7\n[bundle]\nformat=verity\n[image.r]\nfilename=r\nhooks=install\n"
    )
    assert "compatible=x\n" in edited_manifest(text, "2", "x")
    assert "compatible=b" not in edited_manifest(text, "2", "x")


def test_the_second_name_of_a_file_stays_when_the_first_is_gone() -> None:
    entries = parse_list("/ D 1 755 0 0\na R 1 644 5 6 3 9\nb L a\nc L a\n")
    assert edited(entries, frozenset({"/a"}), {}) == "/ D 1 755 0 0\nb R 1 644 5 6 3 9\nc L b\n"
    assert edited(entries, frozenset(), {"/b": (4, 12)}).endswith("c L a\nb R 1 644 5 6 4 12\n")


def test_a_line_of_another_kind_is_no_list() -> None:
    with pytest.raises(ValueError, match="what"):
        parse_list("what\n")


def opened(image: Path, kind: str) -> AbstractContextManager[Tree]:
    return ext4.opened(image) if kind == "ext4" else squashfs.opened(image, image.parent)


@pytest.mark.parametrize("kind", ["ext4", "squashfs"])
def test_both_kinds_of_tree_follow_links_as_linux_does(tree: Path, tmp_path: Path, kind: str) -> None:
    image = make_image(tree, tmp_path / "image", kind)
    with opened(image, kind) as look:
        assert look.resolved("/sbin/init", follow=False) == "/usr/sbin/init"
        assert look.resolved("/sbin/init") == "/usr/bin/busybox"
        assert look.resolved("/boot/vmlinuz") == "/usr/lib/modules/6.1/vmlinuz"
        assert look.resolved("/no/such") is None
        assert look.read("/usr/lib/app/health") == b"#!/usr/bin/busybox sh\nexit 0\n"
        assert look.read("/usr") is None
        assert look.names("/boot") == ["vmlinuz"]


@pytest.mark.parametrize("kind", ["ext4", "squashfs"])
def test_owners_and_modes_stay_as_they_are(tmp_path: Path, kind: str) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("changed", "other file"):
        (tree / name).write_text(name)
        (tree / name).chmod(0o640)
    image = make_image(tree, tmp_path / "image", kind)
    owner = f"{tree.stat().st_uid}/{tree.stat().st_gid}"
    with opened(image, kind) as found:
        found.change(Changes({"/changed": b"anew"}), tmp_path / "out")
    with opened(tmp_path / "out", kind) as after:
        assert (after.read("/changed"), after.read("/other file")) == (b"anew", b"other file")
    if kind == "squashfs":
        listed = run("unsquashfs", "-lln", tmp_path / "out").decode()
        assert listed.count(f"-rw-r----- {owner}") == 2
    else:
        assert f"User: {tree.stat().st_uid:>5}" in run("debugfs", "-R", "stat /changed", tmp_path / "out").decode()
