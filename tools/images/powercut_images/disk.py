"""The disk of a device with its first release: partitions made as files and put together, without a mount."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tarfile
from io import BytesIO
from pathlib import Path

from .devices import Device
from .errors import BuildError
from .releases import DEVICE_FILES, ENV_SECTOR
from .store import Store, remove_tree, source_hash
from .system import VAR_DIRS
from .workshop import EPOCH_S, Workshop

GRUB = Path("/usr/lib/grub/i386-pc")
_GRUB_MODULES = (
    *("biosdisk", "ext2", "memdisk", "tar", "normal", "loadenv", "linux", "serial", "terminal", "test"),
    *("echo", "configfile", "reboot", "halt", "sleep", "ls", "cat", "regexp"),
)
KERNEL_ARGUMENTS = (
    *("console=ttyS0", "quiet", "loglevel=4", "mitigations=off", "tsc=reliable", "no_timer_check", "nokaslr"),
    *("panic=1", "random.trust_cpu=on"),
)
SECTOR = 512
MIB = 1024 * 1024
_UUID = {"boot": 1, "root": 2, "env": 3, "data": 4}


def make_disk(store: Store, releases: Path, keys: Path, device: Device) -> Path:
    """`disk.img`, `releases.json`, and `repo`, a link to the repository."""
    inputs = {
        "releases": releases.name,
        "keys": keys.name,
        "device": repr(device),
        "files": source_hash(DEVICE_FILES / "grub"),
        "recipe": source_hash(Path(__file__)),
    }

    def make(shop: Workshop) -> None:
        sysroot = shop.dir / "sysroot"
        with shop.step("deploying the first release"):
            good = _deploy(shop, sysroot, releases, keys, device)
        with shop.step("putting the disk together"):
            parts = {"boot": shop.dir / "boot.img", "root": shop.dir / "root.img", "env": shop.dir / "env.img"}
            boot = shop.dir / "boot"
            (sysroot / "boot").rename(boot)
            (sysroot / "boot").mkdir()
            sizes = {part.role: part.size_mib for part in device.partitions}
            # No journal: a boot loader replays none, and would read what was before it. The initramfs repairs /boot.
            journal = "has_journal" if device.boot_journal else "^has_journal"
            features = f"{journal},^metadata_csum,^64bit"
            file_system(shop, parts["boot"], ("boot", sizes["boot"]), boot, "-t", "ext4", "-O", features)
            options = ("-t", "ext4", "-O", "^metadata_csum", "-J", "size=16")
            file_system(shop, parts["root"], ("root", sizes["root"]), sysroot, *options)
            variables = {"good": good, "trial": "", "tries": "0"}
            make_environment(shop, parts["env"], sizes["env"], variables)
            _assemble(shop, shop.dir / "disk.img", parts, device)
            remove_tree(sysroot)
            remove_tree(boot)
            for part in parts.values():
                part.unlink()
        shutil.copy(releases / "releases.json", shop.dir / "releases.json")
        (shop.dir / "repo").symlink_to(f"../{releases.name}/repo")

    return store.get(f"disk-{device.name}", inputs, make)


def _deploy(shop: Workshop, sysroot: Path, releases: Path, keys: Path, device: Device) -> str:
    """Makes the sysroot; returns the id (COMMIT.SERIAL) of its deployment."""
    first = json.loads((releases / "releases.json").read_text())[0]["commit"]
    sysroot.mkdir()
    shop.run("ostree", "admin", "init-fs", "--modern", sysroot)
    shop.run("ostree", "admin", f"--sysroot={sysroot}", "os-init", device.osname)
    repo = sysroot / "ostree/repo"
    config = ("ostree", f"--repo={repo}", "config")
    shop.run(*config, "set", "core.fsync", "false")
    shop.run(*config, "set", "sysroot.bootloader", "grub2")
    # ostree takes the file system for GRUB's when these are there.
    for directory in ("boot/grub", "boot/loader.0"):
        (sysroot / directory).mkdir(parents=True)
    (sysroot / "boot/loader.0/grub.cfg").touch()
    (sysroot / "boot/loader").symlink_to("loader.0")
    (sysroot / "boot/grub/grub.cfg").symlink_to("../loader/grub.cfg")
    shop.run("ostree", f"--repo={repo}", "pull-local", releases / "repo", first)
    shop.run("ostree", f"--repo={repo}", "refs", f"--create={device.remote}:{device.ref}", first)
    trust = ["--set=gpg-verify=false"]
    if device.signed:
        trust = ["--set=gpg-verify=true", f"--gpg-import={keys / 'powercut.gpg'}"]
    remote = (device.remote, device.url, device.ref)
    shop.run("ostree", f"--repo={repo}", "remote", "add", *trust, "--set=gpg-verify-summary=false", *remote)
    # ostree runs a program of this name inside the deployment, any other one as it is.
    writer = shop.dir / "write-grub-config"
    shutil.copy(DEVICE_FILES / "rootfs/usr/sbin/grub-mkconfig", writer)
    arguments = (f"root={device.node('root')}", "rw", *KERNEL_ARGUMENTS, *device.more_arguments)
    shop.run(
        *(
            "ostree",
            "admin",
            f"--sysroot={sysroot}",
            "deploy",
            f"--os={device.osname}",
            f"{device.remote}:{device.ref}",
        ),
        *("--karg-none", *(f"--karg={argument}" for argument in arguments)),
        env={"OSTREE_GRUB2_EXEC": str(writer), "OSTREE_SYSROOT_DEBUG": "mutable-deployments"},
    )
    writer.unlink()
    shop.run(*config, "unset", "core.fsync")
    write_state(sysroot / "ostree/deploy" / device.osname / "var", keys, device.prompt)
    for line in (sysroot / "boot/loader/grub.cfg").read_text().splitlines():
        if line.startswith("set id0="):
            return line.split("'")[1]
    raise BuildError(f"image {shop.name}", "ostree wrote no boot entry", f"see {shop.log}")


def write_state(var: Path, keys: Path, prompt: str) -> None:
    """A new device's /var."""
    for name in (*VAR_DIRS.values(), "usrlocal", "log", "lib", "cache", "lib/ssh", "lib/ota"):
        (var / name).mkdir(parents=True, exist_ok=True)
    (var / "roothome").chmod(0o700)
    for name in ("run", "lock"):
        link = var / name
        if link.is_dir() and not link.is_symlink():
            link.rmdir()
        link.unlink(missing_ok=True)
    (var / "run").symlink_to("/run")
    (var / "lock").symlink_to("/run/lock")
    (var / "tmp").mkdir(exist_ok=True)
    (var / "tmp").chmod(0o1777)
    for name, mode in (("host_key", 0o600), ("host_key.pub", 0o644)):
        shutil.copy(keys / name, var / "lib/ssh" / name)
        (var / "lib/ssh" / name).chmod(mode)
    (var / "roothome/.profile").write_text(f"PS1='{prompt}'\n")
    (var / "roothome/.hushlogin").touch()


def file_system(shop: Workshop, image: Path, what: tuple[str, int], content: Path, *options: str) -> None:
    """`what`: role and MiB; equal content gives an equal image."""
    role, size_mib = what
    uuid = "-".join(str(_UUID[role]) * length for length in (8, 4, 4, 4, 12))
    shop.run(
        *("mke2fs", "-q", *options, "-U", uuid, "-L", role),
        *("-E", f"hash_seed={uuid},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard"),
        *("-d", str(content), str(image), f"{size_mib}M"),
        env={"E2FSPROGS_FAKE_TIME": str(EPOCH_S)},
    )


def make_environment(shop: Workshop, image: Path, size_mib: int, variables: dict[str, str]) -> bytes:
    """GRUB's environment block in a file system of its own, which nobody ever mounts; returns the block.

    GRUB can write to a file only, the device wants to write one sector: so the sector is a constant, checked here.
    """
    content = shop.dir / "env"
    content.mkdir()
    lines = "".join(f"{name}={value}\n" for name, value in variables.items())
    block = f"# GRUB Environment Block\n{lines}".encode().ljust(1024, b"#")
    (content / "grubenv").write_bytes(block)
    options = ("-t", "ext2", "-b", "1024", "-O", "none", "-m", "0", "-N", "16")
    file_system(shop, image, ("env", size_mib), content, *options)
    shutil.rmtree(content)
    check_sector(image, ENV_SECTOR, block)
    return block


def check_sector(image: Path, sector: int, block: bytes) -> None:
    """Raises BuildError when the environment block is not where the device's scripts look for it."""
    with image.open("rb") as file:
        file.seek(sector * SECTOR)
        if file.read(len(block)) != block:
            raise BuildError("environment block", f"it is not at sector {sector}", "correct the constant")


def _assemble(shop: Workshop, disk: Path, parts: dict[str, Path], device: Device) -> None:
    total = 1 + sum(part.size_mib for part in device.partitions) + 1
    with disk.open("wb") as file:
        os.truncate(file.fileno(), total * MIB)
    table = b""
    start_mib = 1
    for part in device.partitions:
        if part.role in parts:
            seek = f"seek={start_mib}"
            shop.run("dd", f"if={parts[part.role]}", f"of={disk}", "bs=1M", seek, "conv=notrunc,sparse", "status=none")
        flag, kind = (0x80 if part.role == "boot" else 0), (0xDA if part.role == "env" else 0x83)
        chs = b"\xfe\xff\xff"  # "use LBA"
        sectors = part.size_mib * MIB // SECTOR
        table += struct.pack("<B3sB3sII", flag, chs, kind, chs, start_mib * MIB // SECTOR, sectors)
        start_mib += part.size_mib
    config = (DEVICE_FILES / "grub/grub.cfg").read_text()
    for role in ("boot", "env"):
        config = config.replace(f"@{role.upper()}@", str(device.number(role)))
    core = grub_core(shop, config, "part_msdos")
    code = (GRUB / "boot.img").read_bytes()[:440]
    with disk.open("r+b") as file:
        file.write(code + struct.pack("<IH", 0x504F5743, 0) + table.ljust(64, b"\0") + b"\x55\xaa")
        file.write(core)


def grub_core(shop: Workshop, config: str, table: str) -> bytes:
    """GRUB's second stage with its configuration inside: nothing that an update writes can damage it.

    `table`: the module that reads the partition table.
    """
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        member = tarfile.TarInfo("boot/grub/grub.cfg")
        member.size, member.mtime = len(config.encode()), EPOCH_S
        tar.addfile(member, BytesIO(config.encode()))
    memdisk, core = shop.dir / "memdisk.tar", shop.dir / "core.img"
    memdisk.write_bytes(packed.getvalue())
    shop.run(
        *("grub-mkimage", "-O", "i386-pc", "-p", "(memdisk)/boot/grub", "-m", memdisk, "-o", core, "-C", "xz"),
        *(table, *_GRUB_MODULES),
    )
    data = core.read_bytes()
    memdisk.unlink()
    core.unlink()
    if len(data) > MIB - SECTOR:
        raise BuildError("boot loader", f"{len(data)} bytes do not fit before the first partition", "drop modules")
    return data
