"""The base: a Debian root file system as a tar, and the kernel package, which is unpacked later and never installed."""

from __future__ import annotations

from pathlib import Path

from .store import Store, source_hash
from .workshop import Workshop

SUITE = "bookworm"
MIRRORS = (
    "deb http://deb.debian.org/debian bookworm main",
    "deb http://deb.debian.org/debian bookworm-updates main",
    "deb http://deb.debian.org/debian-security bookworm-security main",
)
KERNEL = "linux-image-cloud-amd64"  # ext4 is built in, and its LZ4 unpacks fastest under TCG

# Every update client's packages are in one base, so that devices differ in their layout only.
PACKAGES = (
    *("ostree", "ostree-boot", "rauc", "rauc-service", "swupdate", "mender-client"),
    *("busybox-static", "ca-certificates", "curl", "dbus", "e2fsprogs", "grub-common", "iproute2", "jq", "kmod"),
    *("login", "openssh-server", "passwd", "procps", "zstd"),
)

# No device needs these.
_EXCLUDED = (
    "/usr/share/man/*",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/grub/*",
    "/usr/share/bash-completion/*",
    "/usr/share/zsh/*",
    "/usr/lib/x86_64-linux-gnu/gconv/*",
    "/usr/lib/udev/hwdb.d/*",
)

_FETCH_KERNEL = f"""set -e
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
package=$(apt-cache depends {KERNEL} | sed -n 's/^ *Depends: \\(linux-image-[0-9].*\\)/\\1/p' | head -n 1)
cd "$KERNEL_DIR"
apt-get -o APT::Sandbox::User=root download "$package"
mv "$package"_*.deb kernel.deb
"""


def make_base(store: Store) -> Path:
    """`rootfs.tar` and `kernel.deb`. Downloaded packages are kept, so a rebuild fetches only what is new."""

    def make(shop: Workshop) -> None:
        packages = store.root / "debs"
        packages.mkdir(exist_ok=True)
        hook = shop.dir / "fetch-kernel"
        hook.write_text(_FETCH_KERNEL)
        archives = "/var/cache/apt/archives/"
        with shop.step("installing Debian packages (downloads about 90 MB the first time)"):
            shop.run(
                *("mmdebstrap", "--mode=root", "--variant=essential", "--format=tar", "--skip=essential/unlink"),
                # A merged /usr from the start, instead of the package usrmerge and all of perl behind it.
                *("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--include=usr-is-merged"),
                '--aptopt=Apt::Install-Recommends "false"',
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED),
                f"--include={','.join(PACKAGES)}",
                f'--setup-hook=mkdir -p "$1"{archives}',
                f"--setup-hook=sync-in {packages} {archives}",
                f"--customize-hook=sync-out {archives} {packages}",
                f"--customize-hook=sh {hook}",
                '--customize-hook=rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/etc/ssh/ssh_host_*',
                *(SUITE, shop.dir / "rootfs.tar", *MIRRORS),
                env={"KERNEL_DIR": str(shop.dir)},
            )
        hook.unlink()

    return store.get("base", {"recipe": source_hash(Path(__file__))}, make)
