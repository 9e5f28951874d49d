"""A small but real device: two releases in an OSTree repository, deployed by ostree, on file systems by mke2fs.

Nothing here needs root or a mount: ostree deploys into a folder, mke2fs fills a partition from one, and what a power
cut might have left is made by writing to a copy-on-write view, or by debugfs on a copy.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from powercut.disk.blocks import Blocks, open_blocks
from powercut.environment import BootEnvironment
from powercut.integrity.judge import DiskJudge
from powercut.integrity.manifest import Manifest, read_manifest

MIB = 1 << 20
BOOT_AT, ROOT_AT, ENV_AT, DISK_END = MIB, 13 * MIB, 45 * MIB, 46 * MIB
MKCONFIG = Path(__file__).parents[3] / "tools/images/device/rootfs/usr/sbin/grub-mkconfig"
ENVIRONMENT = BootEnvironment(partition=3, file="/grubenv")
BIG_FILE = b"".join(b"line %07d of a file of several blocks\n" % number for number in range(2000))


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )
    return done.stdout


def mke2fs(image: Path, size_mib: int, folder: Path, *options: str) -> None:
    run("mke2fs", "-q", "-F", *options, "-E", "root_owner=0:0", "-d", folder, image, f"{size_mib}M")


def debugfs(image: Path, at: int, *commands: str) -> str:
    """Run debugfs commands on the file system at byte `at`; writes if they do."""
    script = image.with_suffix(".debugfs")
    script.write_text("\n".join([*commands, ""]))
    return run("debugfs", "-w", "-f", script, f"{image}?offset={at}")


@dataclass(frozen=True)
class Device:
    """A disk image with what is on it; `deployments` are COMMIT.SERIAL by release."""

    image: Path
    repo: Path
    manifests: dict[str, Manifest]
    deployments: dict[str, str]

    def path(self, release: str, path: str) -> str:
        """A path of a deployment as seen from the root file system."""
        return f"/ostree/deploy/os/deploy/{self.deployments[release]}{path}"

    def content_at(self, at: int, path: str) -> int:
        """The byte of the disk at which a file's first block lies."""
        width = 1024 if at == ENV_AT else 4096
        blocks = re.findall(r"\d+", debugfs(self.image, at, f"blocks {path}").split("\n", 1)[1])
        return at + int(blocks[0]) * width

    def boot_file(self, release: str, name: str) -> str:
        """The path of a release's kernel or initramfs on the boot partition; 1.1 is the first entry."""
        config = debugfs(self.image, BOOT_AT, "cat /loader/grub.cfg")
        newest, oldest = re.finditer(rf"/ostree/\S+/{name}", config)
        return (newest if release == "1.1" else oldest)[0]

    def inode_at(self, at: int, path: str) -> int:
        """The byte of the disk at which a file's inode lies."""
        found = re.search(r"block (\d+), offset 0x([0-9a-f]+)", debugfs(self.image, at, f"imap {path}"))
        assert found
        return at + int(found[1]) * 4096 + int(found[2], 16)


def write_tree(tree: Path, version: str) -> None:
    """The files of a release, kernel and initramfs included."""
    for folder in ("usr/bin", "usr/etc/app", "usr/lib/modules/6.1", "usr/share/empty", "sysroot", "boot", "var", "tmp"):
        (tree / folder).mkdir(parents=True)
    (tree / "usr/lib/os-release").write_text(f"ID=os\nNAME=os\nPRETTY_NAME=os\nVERSION_ID={version}\n")
    (tree / "usr/lib/modules/6.1/vmlinuz").write_bytes(f"kernel {version} ".encode() * 3000)
    (tree / "usr/lib/modules/6.1/initramfs.img").write_bytes(f"initramfs {version} ".encode() * 3000)
    (tree / "usr/bin/app").write_text(f"#!/bin/sh\necho {version}\n")
    (tree / "usr/bin/app").chmod(0o755)
    (tree / "usr/share/big").write_bytes(version.encode() + BIG_FILE)
    (tree / "usr/share/same").write_text("in every release\n")
    (tree / "usr/etc/app/user.conf").write_text("default\n")
    (tree / "usr/etc/os-release").symlink_to("../lib/os-release")
    (tree / "lib").symlink_to("usr/lib")
    (tree / "ostree").symlink_to("sysroot/ostree")
    (tree / "long").symlink_to("/usr/" + "x" * 200)


def commit(repo: Path, tree: Path) -> str:
    owner = (f"--owner-uid={os.getuid()}", f"--owner-gid={os.getgid()}")
    return run("ostree", f"--repo={repo}", "commit", "-b", "os", f"--tree=dir={tree}", "--no-xattrs", *owner).strip()


def deploy(folder: Path, repo: Path, commits: dict[str, str]) -> Path:
    """A system root with every release deployed, the last one first in the boot menu."""
    sysroot, mkconfig = folder / "sysroot", folder / "mkconfig"
    shutil.copy(MKCONFIG, mkconfig)  # ostree would chroot to run something called grub-mkconfig
    mkconfig.chmod(0o755)
    sysroot.mkdir()
    # Else ostree makes deployments immutable, and pytest could not remove its old folders.
    debug = {"OSTREE_SYSROOT_DEBUG": "mutable-deployments", "OSTREE_GRUB2_EXEC": str(mkconfig)}
    run("ostree", "admin", "init-fs", "--modern", sysroot, **debug)
    run("ostree", "admin", f"--sysroot={sysroot}", "os-init", "os", **debug)
    device = f"--repo={sysroot}/ostree/repo"
    run("ostree", device, "config", "set", "core.fsync", "false")
    run("ostree", device, "config", "set", "sysroot.bootloader", "grub2")
    (sysroot / "boot/grub").mkdir()
    (sysroot / "boot/grub/grub.cfg").symlink_to("../loader/grub.cfg")
    (sysroot / "boot/loader.0").mkdir()
    (sysroot / "boot/loader.0/grub.cfg").touch()
    (sysroot / "boot/loader").symlink_to("loader.0")
    for revision in commits.values():
        run("ostree", device, "pull-local", repo, revision)
        arguments = ("--os=os", "--retain", "--karg=root=/dev/vda2", revision)
        run("ostree", "admin", f"--sysroot={sysroot}", "deploy", *arguments, **debug)
    return sysroot


def master_boot_record() -> bytes:
    table = b""
    for start, end in ((BOOT_AT, ROOT_AT), (ROOT_AT, ENV_AT), (ENV_AT, DISK_END)):
        table += struct.pack("<B3xB3xII", 0, 0x83, start // 512, (end - start) // 512)
    return bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa"


def write_disk(folder: Path, sysroot: Path, good: str, boot_options: tuple[str, ...]) -> Path:
    boot, env, image = folder / "boot", folder / "env", folder / "disk.raw"
    shutil.move(sysroot / "boot", boot)
    (sysroot / "boot").mkdir()
    env.mkdir()
    block = f"# GRUB Environment Block\ngood={good}\ntrial=\ntries=0\n"
    (env / "grubenv").write_bytes(block.encode().ljust(1024, b"#"))
    mke2fs(folder / "p1", 12, boot, "-t", "ext4", "-b", "4096", *boot_options)
    mke2fs(folder / "p2", 32, sysroot, "-t", "ext4", "-b", "4096", "-J", "size=4")
    mke2fs(folder / "p3", 1, env, "-t", "ext2", "-b", "1024", "-O", "none", "-N", "16")
    with image.open("wb") as disk:
        disk.write(master_boot_record())
        for at, part in ((BOOT_AT, "p1"), (ROOT_AT, "p2"), (ENV_AT, "p3")):
            disk.seek(at)
            disk.write((folder / part).read_bytes())
        disk.truncate(DISK_END)
    return image


def build_device(folder: Path, *boot_options: str) -> Device:
    repo, commits = folder / "repo", {}
    run("ostree", "init", f"--repo={repo}", "--mode=archive")
    for version in ("1.0", "1.1"):
        write_tree(folder / version, version)
        commits[version] = commit(repo, folder / version)
    sysroot = deploy(folder, repo, commits)
    deployments = {version: f"{revision}.0" for version, revision in commits.items()}
    for version in commits:
        place = sysroot / "ostree/deploy/os/deploy" / deployments[version]
        (place / "etc/app/user.conf").write_text(f"written by the user of {version}\n")
    (sysroot / "ostree/deploy/os/var/lib/app").mkdir()
    (sysroot / "ostree/deploy/os/var/lib/app/data").write_text("the user's data\n")
    manifests = {version: read_manifest(repo, revision, folder / "cache") for version, revision in commits.items()}
    image = write_disk(folder, sysroot, deployments["1.1"], boot_options)
    return Device(image, repo, manifests, deployments)


@pytest.fixture(scope="session")
def device(tmp_path_factory: pytest.TempPathFactory) -> Device:
    """1.1 runs and is confirmed, 1.0 is what it would fall back to. /boot has no journal."""
    return build_device(tmp_path_factory.mktemp("device"), "-O", "^has_journal")


@pytest.fixture
def state(device: Device) -> Iterator[Blocks]:
    """The undamaged disk, free to be written to."""
    with open_blocks(device.image) as blocks:
        yield blocks


@pytest.fixture(scope="session")
def judge(device: Device) -> Iterator[DiskJudge]:
    judge = DiskJudge(
        device.image,
        device.manifests,
        boot_environment=ENVIRONMENT,
        kept=("/etc/app/user.conf", "/var/lib/app/data", "/etc/none"),
    )
    yield judge
    judge.close()


Edited = Callable[..., Blocks]


@pytest.fixture
def edited(device: Device, state: Blocks, tmp_path: Path) -> Edited:
    """The state that debugfs commands on the file system at a byte of the disk leave."""

    def edit(at: int, *commands: str) -> Blocks:
        copy = tmp_path / "edited.raw"
        shutil.copy(device.image, copy)
        debugfs(copy, at, *commands)
        content = copy.read_bytes()
        for offset in range(0, len(content), 4096):
            if content[offset : offset + 4096] != state.read(offset, 4096):
                state.write(offset, content[offset : offset + 4096])
        return state

    return edit


def flip(blocks: Blocks, at: int, bit: int = 1) -> None:
    """Flip bits of one byte of the disk."""
    blocks.write(at, bytes([blocks.read(at, 1)[0] ^ bit]))
