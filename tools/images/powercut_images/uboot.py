"""U-Boot for QEMU's arm64 `virt` board, its flash, and a QEMU that this U-Boot can save its environment under.

Debian 12's QEMU (7.2.22) anchors the write buffer of its flash at the offset of the count, which U-Boot writes at the
sector's base: every buffered write behind the first 4 KiB is aborted, and `saveenv` fails ("Flash buffer write
timeout"). So QEMU is the one of bookworm-backports, unpacked here and never installed; its libraries are those of
Debian 12's.

The stock loader is Debian's binary. It keeps one copy of its environment, so the one with two copies is built from
Debian's source, by a compiler in a folder of its own, and differs in nothing else.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .debian import MIRRORS, SUITE
from .devices import UBoot
from .errors import BuildError
from .store import Store, source_hash
from .workshop import Workshop

_BACKPORTS = f"deb http://deb.debian.org/debian {SUITE}-backports main"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_QEMU_PACKAGES = ("qemu-system-arm", "qemu-system-common", "qemu-system-data")
_QEMU = "usr/bin/qemu-system-aarch64"
_UNUSED = ("usr/bin/qemu-system-arm", "usr/share/doc", "usr/share/man", "usr/share/icons", "usr/share/applications")

# A bank of `virt`'s flash is 64 MiB; the environment is at the start of the second one.
_FLASH_BYTES = 64 << 20
_BOARD = "qemu_arm64"

# What Debian builds it with, less what only the images of other boards need.
_BUILD_PACKAGES = (
    *("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "gcc", "libc6-dev", "make", "bison", "flex", "bc", "dpkg-dev"),
    *("libssl-dev", "swig", "python3", "python3-dev", "python3-setuptools"),
    # of a Debian that is only unpacked not even these are there by themselves
    *("bash", "coreutils", "dash", "diffutils", "findutils", "grep", "gzip", "hostname", "mawk", "sed", "tar"),
)
# Two sectors of the flash, one copy in each.
_REDUNDANT = "CONFIG_SYS_REDUNDAND_ENVIRONMENT=y\nCONFIG_ENV_ADDR_REDUND=0x4040000\n"


def make_uboot(store: Store, device: UBoot) -> Path:
    """`u-boot.bin`, an empty `flash.img`, and `qemu`, which leads to the folder with QEMU."""
    qemu = _make_qemu(store)
    inputs = {"qemu": qemu.name, "device": repr(device), "recipe": source_hash(Path(__file__))}

    def make(shop: Workshop) -> None:
        if device.redundant:
            _compile(shop)
        else:
            _take_stock(shop)
        with (shop.dir / "flash.img").open("wb") as flash:
            flash.truncate(_FLASH_BYTES)
        (shop.dir / "qemu").symlink_to(qemu / "tree")

    return store.get(f"uboot-{'redundant' if device.redundant else 'stock'}", inputs, make)


def _make_qemu(store: Store) -> Path:
    """`tree`: QEMU's files as its packages have them."""

    def make(shop: Workshop) -> None:
        tree = shop.dir / "tree"
        with shop.step(f"unpacking QEMU of {SUITE}-backports (downloads about 15 MB)"):
            _Apt(shop, _BACKPORTS).unpack(tree, *_QEMU_PACKAGES)
            for name in _UNUSED:
                path = tree / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            libraries = shop.run("ldd", tree / _QEMU)
            missing = [line.split()[0] for line in libraries.splitlines() if "not found" in line]
            if missing:
                what, do = (
                    f"QEMU lacks {', '.join(missing)}",
                    "apt-get install qemu-system-x86, which has the same needs",
                )
                raise BuildError(f"image {shop.name}", what, do)
            shop.run(tree / _QEMU, "--version")

    return store.get("qemu-arm", {"recipe": source_hash(Path(__file__))}, make)


def _take_stock(shop: Workshop) -> None:
    with shop.step("unpacking Debian's U-Boot (downloads about 12 MB)"):
        tree = shop.dir / "tree"
        _Apt(shop, *MIRRORS).unpack(tree, "u-boot-qemu")
        shutil.copyfile(tree / "usr/lib/u-boot" / _BOARD / "u-boot.bin", shop.dir / "u-boot.bin")
        shutil.rmtree(tree)


def _compile(shop: Workshop) -> None:
    tools = shop.dir / "tools"
    with shop.step("unpacking a cross compiler (downloads about 150 MB)"):
        shop.run(
            *("mmdebstrap", "--mode=root", "--variant=extract", "--format=directory"),
            *("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", f"--include={','.join(_BUILD_PACKAGES)}"),
            *('--aptopt=Apt::Install-Recommends "false"', SUITE, tools, *MIRRORS),
        )
        for name, program in (("awk", "mawk"), ("cc", "gcc")):  # what the packages' scripts would set up
            (tools / "usr/bin" / name).symlink_to(program)
    with shop.step("unpacking U-Boot's source (downloads about 30 MB)"):
        source = tools / "src"
        source.mkdir()
        _Apt(shop, *(f"deb-src{mirror[3:]}" for mirror in MIRRORS)).source(source, "u-boot")
        description = next(source.glob("*.dsc")).name
        shop.run("chroot", tools, "dpkg-source", "-x", f"/src/{description}", "/src/u-boot")
    with shop.step("compiling U-Boot with two copies of its environment"):
        make = ("chroot", tools, "make", "-C", "/src/u-boot", "O=/src/out", "CROSS_COMPILE=aarch64-linux-gnu-")
        shop.run(*make, f"{_BOARD}_defconfig")
        config = source / "out/.config"
        config.write_text(config.read_text() + _REDUNDANT)
        shop.run(*make, "olddefconfig")
        if not all(line in config.read_text() for line in _REDUNDANT.splitlines()):
            what = "this U-Boot does not take the options of a redundant environment"
            raise BuildError(f"image {shop.name}", what, "see their names in its env/Kconfig")
        shop.run(*make, f"-j{len(os.sched_getaffinity(0))}", "u-boot.bin")
        shutil.copyfile(source / "out/u-boot.bin", shop.dir / "u-boot.bin")
        shutil.copyfile(config, shop.dir / "config")
    shutil.rmtree(tools)


class _Apt:
    """Debian's packages without this system's lists and sources: downloaded, checked by apt, never installed."""

    def __init__(self, shop: Workshop, *sources: str) -> None:
        self._shop = shop
        self._state = shop.dir / "apt"
        for folder in ("lists/partial", "cache/archives/partial"):
            (self._state / folder).mkdir(parents=True)
        lines = [source.replace(" ", f" [signed-by={_KEYRING}] ", 1) for source in sources]
        (self._state / "sources.list").write_text("\n".join((*lines, "")))
        self._options = (
            *("-o", f"Dir::Etc::SourceList={self._state}/sources.list", "-o", "Dir::Etc::SourceParts=-"),
            *("-o", f"Dir::State::Lists={self._state}/lists", "-o", f"Dir::Cache={self._state}/cache"),
            *("-o", "APT::Sandbox::User=root", "-q"),
        )
        shop.run("apt-get", *self._options, "update")

    def unpack(self, tree: Path, *packages: str) -> None:
        """Their files, laid into `tree`."""
        self._shop.run("apt-get", *self._options, "download", *packages, cwd=self._state)
        for package in sorted(self._state.glob("*.deb")):
            self._shop.run("dpkg-deb", "-x", package, tree)
        shutil.rmtree(self._state)

    def source(self, folder: Path, package: str) -> None:
        """A source package as Debian has it: a description and the archives that it names."""
        self._shop.run("apt-get", *self._options, "source", "--download-only", package, cwd=folder)
        shutil.rmtree(self._state)
