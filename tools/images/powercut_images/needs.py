"""What a build needs of the machine, checked before any work starts."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from .errors import BuildError

_PACKAGE_OF = {
    "apt-get": "apt",
    "chattr": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "dpkg-deb": "dpkg",
    "gpg": "gnupg",
    "gpgconf": "gnupg",
    "grub-mkimage": "grub-common",
    "lz4": "lz4",
    "mender-artifact": "mender-artifact",
    "mke2fs": "e2fsprogs",
    "mksquashfs": "squashfs-tools",
    "mmdebstrap": "mmdebstrap",
    "openssl": "openssl",
    "ostree": "ostree",
    "rauc": "rauc",
    "setpriv": "util-linux",
    "sfdisk": "fdisk",
    "ssh-keygen": "openssh-client",
    "/usr/lib/grub/i386-pc/boot.img": "grub-pc-bin",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
_DISK_GIB = 4
_MEMORY_MIB = 1024
_DOWNLOAD_MB = 110
_SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def describe() -> str:
    """The needs, for a person."""
    packages = " ".join(sorted(set(_PACKAGE_OF.values())))
    return (
        "Debian 12 or newer on x86_64, root (for the owners of files; nothing is mounted)\n"
        f"packages: {packages}\n"
        f"disk: {_DISK_GIB} GiB in the cache, memory: {_MEMORY_MIB} MiB\n"
        f"download: {_DOWNLOAD_MB} MB from deb.debian.org, once\n"
        "uboot: 30 MB more; uboot-redundant: 200 MB more, and some minutes of compiling\n"
        "ostree-uptane: 20 MB more, and the clone's .venv, as tools/check --fast makes it"
    )


def check(root: Path) -> None:
    """Raises BuildError for the first need that isn't met."""
    where = "tools/images/build"
    if platform.machine() != "x86_64":
        raise BuildError(where, f"this is a {platform.machine()} machine", "build on x86_64")
    if os.geteuid() != 0:
        raise BuildError(where, "not root", "start it as root; nothing is mounted, the owners of files need it")
    missing = sorted({package for tool, package in _PACKAGE_OF.items() if not _present(tool)})
    if missing:
        raise BuildError(where, f"missing: {', '.join(missing)}", f"apt-get install {' '.join(missing)}")
    place = root
    while not place.exists():
        place = place.parent
    free_gib = shutil.disk_usage(place).free / 2**30
    if free_gib < _DISK_GIB:
        do = f"make room for {_DISK_GIB} GiB, or set POWERCUT_CACHE to another disk"
        raise BuildError(str(place), f"{free_gib:.1f} GiB free", do)
    free_mib = _available_memory_mib()
    if free_mib < _MEMORY_MIB:
        raise BuildError(where, f"{free_mib} MiB of memory available", f"end something: it takes {_MEMORY_MIB} MiB")


def _present(tool: str) -> bool:
    return Path(tool).exists() if tool.startswith("/") else shutil.which(tool, path=_SBIN) is not None


def _available_memory_mib() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return _MEMORY_MIB
